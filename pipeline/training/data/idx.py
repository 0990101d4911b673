"""The IDX format of MNIST and Fashion-MNIST, gzipped.

Four bytes of magic (0, 0, type, dimensions), a big-endian uint32 a dimension, then the values; type 0x08 is uint8
(http://yann.lecun.com/exdb/mnist/, "the IDX file format").
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

_UINT8 = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the uint8 array in a gzipped IDX file.

    Raises:
        DataError: the file is missing, torn, or not IDX of uint8.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read as gzip ({error})", where=str(path)) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UINT8:
        raise DataError("is not an IDX file of uint8", where=str(path))
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    if len(shape) != dimensions or len(content) - start != int(np.prod(shape)):
        raise DataError(f"is cut off: {len(content)} bytes for shape {shape}", where=str(path))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_folder(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Return x_train, y_train, x_test, y_test of MNIST's four files in ``folder``; images N×1×H×W.

    Raises:
        DataError: a file is missing or not what its name says.
    """
    arrays = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        if images.ndim != 3 or labels.ndim != 1:
            raise DataError(f"{part}: {images.ndim} and {labels.ndim} dimensions, not 3 and 1", where=str(folder))
        arrays[f"x_{part}"] = images[:, None]
        arrays[f"y_{part}"] = labels
    return arrays
