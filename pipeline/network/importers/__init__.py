"""Networks that users bring, from whichever tool, as ONNX in normal form (see ``network.normal``) that gives logits."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

import onnx

from pipeline.errors import NetworkError
from pipeline.network.importers.child import from_keras, from_tflite, from_torch
from pipeline.network.importers.logits import as_logits
from pipeline.network.read import load_onnx
from pipeline.recipe import KerasModel, OnnxModel, TfliteModel, TorchModel


def import_network(
    model: OnnxModel | TorchModel | TfliteModel | KerasModel,
    image: tuple[int, int, int],
    classes: int,
    root: Path,
    *,
    trust: bool = False,
) -> onnx.ModelProto:
    """Return a trained network as ONNX N×C×H×W → N×``classes`` logits, a softmax at its end taken off.

    Args:
        model: the recipe's section; its paths are relative to ``root``.
        image: channels, height, width that the recipe gives the network.
        classes: how many labels the recipe has.
        root: the project's folder.
        trust: whether code of the user may run (a ``torch`` source builds its network with it).

    Raises:
        NetworkError: the file cannot be read or carried, or takes another image or gives another number of classes.
        SetupError: TensorFlow's packages, which ``tflite`` and ``keras`` need, are not installed.
        ToolError: the converter crashed or hung.
    """
    match model:
        case OnnxModel():
            file, found = root / model.path, load_onnx(root / model.path)
        case TorchModel():
            if not trust:
                raise NetworkError(
                    f"{model.factory} is Python code of the project, which is not run unasked",
                    where="model.factory",
                    remedy="read that code, then run again with --trust",
                )
            file, found = root / model.weights, from_torch(model.factory, root / model.weights, image, root)
        case TfliteModel():
            file, found = root / model.path, from_tflite(root / model.path, image)
        case KerasModel():
            file, found = root / model.path, from_keras(root / model.path, image)
        case _:
            assert_never(model)
    _check_image(found, image, file)
    return as_logits(found, classes, where=str(file))


def _check_image(model: onnx.ModelProto, image: tuple[int, int, int], file: Path) -> None:
    dims = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])
    if dims != image:
        raise NetworkError(
            f"takes images of {_sizes(dims)} (channels × height × width), the recipe gives {_sizes(image)}",
            where=str(file),
            remedy=f"set data.image to {list(dims)}, or export the network for the recipe's images",
        )


def _sizes(values: tuple[int, ...]) -> str:
    return " × ".join(map(str, values))
