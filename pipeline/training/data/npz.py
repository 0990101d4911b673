"""Images in a NumPy .npz file: x_train, y_train and, if there is a test part, x_test, y_test.

This is also the form of kpufit's own cache. Pickled arrays are refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.files import replacing
from pipeline.training.data.sets import DataSet

Part = Literal["train", "test"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: equal arrays give equal files


def write(path: Path, arrays: Mapping[str, NDArray[np.uint8]], *, compress: bool) -> None:
    """Write ``arrays`` to ``path``, whole or not at all; equal arrays give equal bytes (with one zlib).

    Raises:
        StorageError: the file cannot be written.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", method, compresslevel=9) as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.compress_type = method
            with archive.open(member, "w", force_zip64=True) as stream:
                np.save(stream, values, allow_pickle=False)


def has_part(path: Path, part: Part) -> bool:
    """Whether the file at ``path`` holds the images of ``part``. Raises DataError when it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return f"x_{part}" in arrays
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise _unreadable(path, error) from error


def read(path: Path, part: Part, channels: int) -> DataSet:
    """Return the images and labels of one part; the other part is not read.

    Images may be N×H×W (grey), N×C×H×W or N×H×W×C with C = ``channels``; labels N or N×1.

    Raises:
        DataError: the file cannot be read, holds pickles, lacks the part, or images of another type or shape.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    except KeyError as error:
        raise DataError(
            f"has no x_{part} and y_{part}", where=str(path), remedy="store x_train, y_train, x_test, y_test"
        ) from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error  # TypeError: a single .npy array under the name of an .npz
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise _unreadable(path, ValueError(f"x_{part} or y_{part} is not an array"))
    if images.dtype != np.uint8:
        raise DataError(
            f"x_{part} is {images.dtype}, not uint8", where=str(path), remedy="store pixels as uint8, 0 to 255"
        )
    if labels.dtype.kind not in "iu" or labels.size != len(labels):
        raise DataError(
            f"y_{part} is {labels.dtype} of shape {labels.shape}, not one integer an image", where=str(path)
        )
    return DataSet(channels_first(images, channels, f"{path}: x_{part}"), labels.reshape(-1).astype(np.int64))


def channels_first(images: NDArray[np.uint8], channels: int, where: str) -> NDArray[np.uint8]:
    """Return N×H×W, N×C×H×W or N×H×W×C with C = ``channels`` as N×C×H×W. Raises DataError for another rank."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise DataError(f"has shape {images.shape}, not N×C×H×W", where=where)
    if images.shape[1] != channels and images.shape[3] == channels:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"cannot be read as .npz ({error})",
        where=str(path),
        remedy="fetch it again, or store it with numpy.savez (no object arrays: pickles are refused)",
    )
