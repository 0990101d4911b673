"""A network that a user names on the command line, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from pipeline.errors import NetworkError
from pipeline.network.importers.child import from_keras, from_tflite
from pipeline.network.read import load_onnx

READERS: dict[str, Callable[[Path], onnx.ModelProto]] = {
    ".onnx": load_onnx,
    ".tflite": from_tflite,
    ".h5": from_keras,
    ".keras": from_keras,
}


def read_user_file(path: Path) -> onnx.ModelProto:
    """Return the network of a .onnx, .tflite, .h5 or .keras file as ONNX in normal form (see ``network.normal``).

    Raises:
        NetworkError: another kind of file, or one that cannot be read or carried.
        SetupError: TensorFlow's packages, which .tflite, .h5 and .keras need, are not installed.
        ToolError: TensorFlow's reader crashed or hung.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise NetworkError(
            f"is of no kind that is read ({path.suffix or 'no suffix'})",
            where=str(path),
            remedy=f"give a file that ends in {', '.join(READERS)}",
        )
    return reader(path)
