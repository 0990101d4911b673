"""A network that a user names on the command line, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from pipeline.errors import NetworkError
from pipeline.network.importers.child import from_keras, from_tflite
from pipeline.network.read import load_onnx

_TENSORFLOW: dict[str, Callable[[Path], onnx.ModelProto]] = {
    ".tflite": from_tflite,
    ".h5": from_keras,
    ".keras": from_keras,
}


def read_user_file(path: Path, *, normal: bool = True) -> onnx.ModelProto:
    """Return the network of a .onnx, .tflite, .h5 or .keras file as ONNX, for questions about it.

    Large weights that an ONNX file computes (ConstantOfShape) have a shape but no values (see ``placeholders``).

    Args:
        path: the file.
        normal: whether in normal form (see ``network.normal``); else an ONNX file as a compiler would be given it.

    Raises:
        NetworkError: another kind of file, or one that cannot be read or carried.
        SetupError: TensorFlow's packages, which .tflite, .h5 and .keras need, are not installed.
        ToolError: TensorFlow's reader crashed or hung.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return load_onnx(path, weights=False, stored=True, normal=normal)
    if suffix not in _TENSORFLOW:
        raise NetworkError(
            f"is of no kind that is read ({path.suffix or 'no suffix'})",
            where=str(path),
            remedy=f"give a file that ends in .onnx, {', '.join(_TENSORFLOW)}",
        )
    return _TENSORFLOW[suffix](path)
