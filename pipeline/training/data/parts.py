"""The two parts of a recipe's data: images that may be learnt from, and test images.

`read_test` is called by `heldout` alone, which `stages/evaluate` alone imports; a test enforces both.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.recipe import Data
from pipeline.training.data import folder, npz
from pipeline.training.data.fetch import cache_folder
from pipeline.training.data.published import PUBLISHED
from pipeline.training.data.sets import DataSet, checked
from pipeline.training.data.shape import to_shape
from pipeline.training.data.shipped import MINI_FILE, MINI_NAME
from pipeline.training.data.split import TEST, Rows, hold_out

IMAGE_FOLDER, NPZ = "image-folder", "npz"


def read_training(data: Data, seed: int, root: Path) -> DataSet:
    """Return every image that is not a test image, brought to ``data.image``.

    Raises:
        DataError: the data is missing, torn, or unlike what the recipe says.
    """
    return _read(data, seed, root, "train")


def read_test(data: Data, seed: int, root: Path) -> DataSet:
    """Return the test images, brought to ``data.image``. For `heldout` alone.

    Raises:
        DataError: the data is missing, torn, or unlike what the recipe says.
    """
    return _read(data, seed, root, "test")


def npz_file(data: Data, root: Path) -> Path:
    """Return the .npz file of every data set but image-folder.

    Raises:
        DataError: the name is unknown, the set was not fetched, or data.path is missing or wrong.
    """
    if data.name == MINI_NAME:
        return MINI_FILE
    if data.name == NPZ:
        return own_path(data, root)
    if data.name in PUBLISHED:
        path = cache_folder(data.name, root) / "data.npz"
        if not path.is_file():
            raise DataError("is not here yet", where=data.name, remedy=f"kpufit data {data.name}")
        return path
    known = ", ".join([MINI_NAME, *PUBLISHED, IMAGE_FOLDER, NPZ])
    raise DataError(f"no data set {data.name!r}", where="data.name", remedy=f"known: {known}")


def own_path(data: Data, root: Path) -> Path:
    """Return the file or folder of the user's own images. Raises DataError when data.path is missing or wrong."""
    if data.path is None:
        raise DataError(f"{data.name} needs data.path", where="data.path", remedy="give the file or folder")
    path = root / data.path
    if not path.exists():
        raise DataError("no such file or folder", where=str(path), remedy="set data.path, relative to the project")
    return path


def _read(data: Data, seed: int, root: Path, part: npz.Part) -> DataSet:
    if data.name == IMAGE_FOLDER:
        found, where = _read_folder(data, seed, own_path(data, root), part), data.path or ""
    else:
        path = npz_file(data, root)
        found, where = _read_npz(data, seed, path, part), str(path)
    found = checked(found, len(data.labels), where=where)
    return DataSet(to_shape(found.images, data.image, where=where), found.labels)


def _read_npz(data: Data, seed: int, path: Path, part: npz.Part) -> DataSet:
    channels = data.image[0]
    if npz.has_part(path, "test"):
        _refuse_test_count(data, str(path))
        return npz.read(path, part, channels)
    everything = npz.read(path, "train", channels)
    return everything.take(_rows(data, seed, everything.labels, part, str(path)))


def _read_folder(data: Data, seed: int, path: Path, part: npz.Part) -> DataSet:
    if folder.has_parts(path):
        _refuse_test_count(data, str(path))
        return folder.read(folder.list_images(path / part, data.labels), data.image)
    listing = folder.list_images(path, data.labels)
    rows = _rows(data, seed, listing.labels, part, str(path))
    chosen = replace(listing, paths=tuple(listing.paths[row] for row in rows), labels=listing.labels[rows])
    return folder.read(chosen, data.image)


def _rows(data: Data, seed: int, labels: Rows, part: npz.Part, where: str) -> Rows:
    """Return the rows of one part of data that has no test part of its own."""
    if data.test is None:
        raise DataError(
            "has no test images",
            where=where,
            remedy="set data.test to the number of images to hold out, or add a test part",
        )
    if len(np.unique(labels)) < 2:
        raise DataError("images of one class only", where=where, remedy="give images of every class")
    kept, held = hold_out(labels, data.test, seed, TEST, what="test")
    return held if part == "test" else kept


def _refuse_test_count(data: Data, where: str) -> None:
    if data.test is not None:
        raise DataError("has test images of its own, all of which are used", where=where, remedy="remove data.test")
