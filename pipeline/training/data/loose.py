"""Images at a path that a user names, before there is a recipe: an .npz file, or a folder of image files."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.training.data import folder
from pipeline.training.data.npz import channels_first, has_part
from pipeline.training.data.sets import DataSet
from pipeline.training.data.shape import to_shape


@dataclass(frozen=True)
class Loose:
    """Training images, perhaps with labels.

    Attributes:
        data: its labels are all 0 where there are none.
        labelled: whether it has labels.
    """

    data: DataSet
    labelled: bool


@dataclass(frozen=True)
class Images:
    """What a recipe says of a user's images.

    Attributes:
        name: of the kind of data set.
        labels: names of the classes.
        training: images that are not test images by the data's own division.
        has_test: whether it has such a division.
    """

    name: str
    labels: tuple[str, ...]
    training: int
    has_test: bool


def load_images(path: Path, image: tuple[int, int, int]) -> Loose:
    """Read every image of ``path``, brought to ``image`` (C, H, W).

    Args:
        path: an .npz file with ``x_train`` (uint8 N×H×W, N×C×H×W or N×H×W×C) and perhaps ``y_train``; ``x_test`` is not
            read. Or a folder of image files.
        image: the network's input.

    Raises:
        DataError: nothing is there, or it cannot be read.
    """
    if path.is_dir():
        return _of_folder(path, image)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["x_train"]
            labels = arrays["y_train"].reshape(-1) if "y_train" in arrays else None
    except KeyError as error:
        raise DataError("has no x_train", where=str(path), remedy="store uint8 images as x_train") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"cannot be read as .npz ({error})", where=str(path), remedy="give an .npz file or a folder of images"
        ) from error
    if images.dtype != np.uint8 or not len(images):
        raise DataError(
            f"x_train is {images.dtype} of shape {images.shape}",
            where=str(path),
            remedy="store at least one image, its pixels as uint8, 0 to 255",
        )
    images = to_shape(channels_first(images, image[0], f"{path}: x_train"), image, where=str(path))
    if labels is None:
        return Loose(DataSet(images, _none(len(images))), labelled=False)
    if labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise DataError(
            f"y_train is {labels.dtype} of {len(labels)} values for {len(images)} images",
            where=str(path),
            remedy="store one integer an image, or no y_train at all",
        )
    return Loose(DataSet(images, labels.astype(np.int64)), labelled=True)


def look_at(path: Path, outputs: int) -> Images:
    """Return what labelled images there are; only their labels are read, and of the test part only that it is there.

    Args:
        path: a folder with a folder a class (or ``train`` and ``test`` with those), or an .npz with x_train, y_train.
        outputs: of the network, which an .npz's classes are as many as; 0 where they are not known.

    Raises:
        DataError: nothing is there, or it has no labels.
    """
    if not path.exists():
        raise DataError("no such file or folder", where=str(path), remedy="give a folder of images or an .npz file")
    if path.is_dir():
        has_test = folder.has_parts(path)
        train = path / "train" if has_test else path
        labels = sorted(each.name for each in train.iterdir() if each.is_dir() and not each.name.startswith("."))
        if len(labels) < 2:
            raise DataError(
                f"{len(labels)} classes",
                where=str(train),
                remedy="put the images of each class into a folder of its own",
            )
        return Images("image-folder", tuple(labels), len(folder.list_images(train, labels).paths), has_test)
    has_test = has_part(path, "test")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            labels_stored = arrays["y_train"]
    except KeyError as error:
        raise DataError("has no y_train", where=str(path), remedy="store x_train and y_train") from error
    classes = outputs or int(labels_stored.max(initial=-1)) + 1
    return Images("npz", tuple(str(number) for number in range(classes)), len(labels_stored), has_test)


def _of_folder(path: Path, image: tuple[int, int, int]) -> Loose:
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in folder.SUFFIXES)
    if not found:
        raise DataError("holds no images", where=str(path), remedy=f"known: {', '.join(sorted(folder.SUFFIXES))}")
    return Loose(folder.read(folder.Listing(tuple(found), _none(len(found))), image), labelled=False)


def _none(count: int) -> NDArray[np.int64]:
    return np.zeros(count, np.int64)
