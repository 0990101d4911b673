"""A network that a user names on the command line, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

from pipeline.errors import NetworkError
from pipeline.network.contract import InputContract, image_of, stored_contract
from pipeline.network.importers.child import from_keras, from_tflite
from pipeline.network.read import load_onnx

_TENSORFLOW: dict[str, Callable[[Path], onnx.ModelProto]] = {
    ".tflite": from_tflite,
    ".h5": from_keras,
    ".keras": from_keras,
}


def read_user_file(path: Path, *, weights: bool = False, normal: bool = True) -> onnx.ModelProto:
    """Return the network of a .onnx, .tflite, .h5 or .keras file as ONNX.

    Args:
        path: the file.
        weights: whether they are wanted; else large ones that an ONNX file computes (ConstantOfShape) have a shape
            but no values (see ``placeholders``), which is enough for questions about the network.
        normal: whether in normal form (see ``network.normal``); else an ONNX file as a compiler would be given it.

    Raises:
        NetworkError: another kind of file, or one that cannot be read or carried.
        SetupError: TensorFlow's packages, which .tflite, .h5 and .keras need, are not installed.
        ToolError: TensorFlow's reader crashed or hung.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return load_onnx(path, weights=weights, stored=True, normal=normal)
    if suffix not in _TENSORFLOW:
        raise NetworkError(
            f"is of no kind that is read ({path.suffix or 'no suffix'})",
            where=str(path),
            remedy=f"give a file that ends in .onnx, {', '.join(_TENSORFLOW)}",
        )
    return _TENSORFLOW[suffix](path)


def contract_of(
    model: onnx.ModelProto, mean: Sequence[float] | None, std: Sequence[float] | None, *, where: str
) -> InputContract:
    """Return a network's input: as its file says, where kpufit wrote it, else as given.

    Args:
        model: with one image input.
        mean: of pixels / 255: one, or one a channel; None for the file's, else 0.
        std: likewise; None for the file's, else 1.
        where: the file, for messages.

    Raises:
        NetworkError: not one image input of fixed size, or another number of means or stds than channels.
    """
    image = image_of(model, where=where)
    known = stored_contract(model)
    if known is None:
        known = InputContract(image, (0.0,) * image[0], (1.0,) * image[0])
    means, stds = (
        known_values if not values else tuple(values) * image[0] if len(values) == 1 else tuple(values)
        for values, known_values in ((mean, known.mean), (std, known.std))
    )
    return InputContract(image, means, stds)
