"""Images that need no labels: an .npz file, or a folder of image files of any depth."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.training.data import folder
from pipeline.training.data.npz import channels_first
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


def _of_folder(path: Path, image: tuple[int, int, int]) -> Loose:
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in folder.SUFFIXES)
    if not found:
        raise DataError("holds no images", where=str(path), remedy=f"known: {', '.join(sorted(folder.SUFFIXES))}")
    return Loose(folder.read(folder.Listing(tuple(found), _none(len(found))), image), labelled=False)


def _none(count: int) -> NDArray[np.int64]:
    return np.zeros(count, np.int64)
