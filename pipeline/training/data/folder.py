"""A folder of images, a folder a class: ``cat/1.jpg``, ``dog/7.png``, …, or those under ``train/`` and ``test/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import DataError
from pipeline.progress import track
from pipeline.training.data.sets import DataSet

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Listing:
    """The files of a folder and the class of each; no image has been opened yet.

    Attributes:
        paths: sorted within a class, classes in the recipe's order.
        labels: int64 N.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]


def has_parts(folder: Path) -> bool:
    """Whether ``folder`` is divided into ``train/`` and ``test/``."""
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def list_images(folder: Path, names: list[str]) -> Listing:
    """List the images of ``folder``, whose subfolders must be the classes ``names``.

    Raises:
        DataError: there is no such folder, its subfolders are not ``names``, or one is empty.
    """
    if not folder.is_dir():
        raise DataError("no such folder", where=str(folder), remedy="set data.path to a folder with a folder a class")
    found = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if found != set(names):
        missing, extra = sorted(set(names) - found), sorted(found - set(names))
        raise DataError(
            "its folders are not the classes of data.labels"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; not in data.labels: {', '.join(extra)}" if extra else ""),
            where=str(folder),
            remedy="name the folders as data.labels does",
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        images = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not images:
            raise DataError("holds no images", where=str(folder / name), remedy=f"known: {', '.join(sorted(SUFFIXES))}")
        paths += images
        labels += [label] * len(images)
    return Listing(tuple(paths), np.array(labels, np.int64))


def read(listing: Listing, image: tuple[int, int, int]) -> DataSet:
    """Open the images of ``listing``: grey or RGB by ``image`` (C, H, W), scaled to cover H×W and cropped centrally.

    Raises:
        DataError: an image cannot be opened, or C is neither 1 nor 3.
    """
    channels, height, width = image
    if channels not in _MODES:
        raise DataError(f"image files have 1 or 3 channels, not {channels}", remedy="set data.image to [1 or 3, H, W]")
    images = np.empty((len(listing.paths), channels, height, width), np.uint8)
    for row, path in enumerate(track(listing.paths, "reading images")):
        try:
            with Image.open(path) as opened:
                fitted = ImageOps.fit(
                    opened.convert(_MODES[channels]), (width, height), method=Image.Resampling.BILINEAR
                )
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"cannot be opened as an image ({error})", where=str(path), remedy="remove it") from error
        images[row] = np.asarray(fitted, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return DataSet(images, listing.labels)
