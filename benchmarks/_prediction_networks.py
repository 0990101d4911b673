"""The whole networks that the prediction is measured on, each as nncase is given it: ONNX, one image, shapes inside.

Batch normalisations are folded by kpufit, as it does before it compiles; nncase does not. Networks of ../shared are
left out where it is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import nn

from benchmarks._prediction_handmade import HANDMADE
from benchmarks._prediction_light import LIGHT, light
from pipeline.compiler.source import checked_onnx
from pipeline.network import zoo
from pipeline.network.contract import InputContract
from pipeline.network.fold import fold_batchnorm
from pipeline.network.fuse import fuse
from pipeline.network.importers.child import from_tflite, from_torch
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.normal import normal_form
from pipeline.network.trace import trace

Build = Callable[[], onnx.ModelProto]
ROOT: Final = Path(__file__).resolve().parents[1]
SHARED: Final = ROOT.parent / "shared"
CLASSES: Final = 10

ZOO: Final[tuple[tuple[str, tuple[int, int, int], int], ...]] = (
    ("convnet5x5", (1, 32, 32), 8),
    ("convnet5x5", (1, 32, 32), 32),
    ("convnet5x5", (3, 64, 64), 16),
    ("convnet5x5", (3, 96, 96), 48),
    ("resnet8", (1, 28, 28), 16),
    ("resnet8", (3, 32, 32), 8),
    ("resnet8", (3, 32, 32), 16),
    ("resnet8", (3, 64, 64), 24),
    ("resnet8", (3, 96, 96), 32),
    ("resnet8", (3, 224, 224), 16),
    ("resnet20", (3, 32, 32), 8),
    ("resnet20", (3, 32, 32), 16),
    ("resnet20", (3, 32, 32), 40),
    ("resnet20", (3, 64, 64), 16),
    ("mobilenet_v1", (1, 28, 28), 8),
    ("mobilenet_v1", (3, 32, 32), 16),
    ("mobilenet_v1", (3, 48, 64), 12),
    ("mobilenet_v1", (3, 240, 320), 8),
    ("mobilenet_v1", (3, 240, 320), 24),
    *(("mobilenet_v1", (3, side, side), width) for width in (8, 16, 24, 32) for side in (96, 128, 160, 192, 224)),
    ("mobilenet_v2", (3, 32, 32), 16),
    *(("mobilenet_v2", (3, side, side), 16) for side in (96, 128, 160, 192, 224)),
    ("mobilenet_v2", (3, 96, 96), 8),
    ("mobilenet_v2", (3, 96, 96), 32),
    ("mobilenet_v2", (3, 160, 160), 24),
    ("mobilenet_v2", (3, 224, 224), 24),
    ("mobilenet_v2", (3, 224, 224), 32),
)
"""Architecture, image, channels of its first convolution (32 is ×1.0 of a MobileNet)."""


def networks() -> dict[str, Build]:
    """Return every network by name, the slowest to compile last."""
    return {
        **HANDMADE,
        **{_zoo_name(*entry): partial(_of_zoo, *entry) for entry in ZOO},
        **_of_shared(),
        **{f"onnx-{name}": partial(_folded, partial(light, name)) for name in LIGHT},
    }


def absent() -> tuple[str, ...]:
    """Return a note on each group of networks that is left out."""
    folders = [folder for folder in (SHARED / "models", SHARED / "kmodels/golden") if not folder.is_dir()]
    return tuple(f"{folder} is absent: its networks are left out" for folder in folders)


def _zoo_name(name: str, image: tuple[int, int, int], width: int) -> str:
    channels, height, wide = image
    side = f"{height}" if height == wide else f"{height}x{wide}"
    return f"zoo-{name}-w{width}-at-{side}" + ("" if channels == 3 else "-grey")


def _of_zoo(name: str, image: tuple[int, int, int], width: int) -> onnx.ModelProto:
    torch.manual_seed(0)
    network = zoo.build(name, image, CLASSES, width)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.normal_(layer.bias, 0, 0.1)
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.running_var, 0.8, 1.2)
    return as_given(to_onnx(fold_batchnorm(trace(network.eval())), _contract(image)))


def _of_shared() -> dict[str, Build]:
    found: dict[str, Build] = {}
    models, golden = SHARED / "models", SHARED / "kmodels/golden"
    if golden.is_dir():
        for folder in sorted(path for path in golden.iterdir() if path.is_dir()):
            found[f"golden-{folder.name}"] = partial(_given, folder / "model.onnx")
    if models.is_dir():
        found["slim320-face"] = partial(_folded, partial(onnx.load, models / "slim320_face.onnx"))
        found["resnet20-option-a"] = partial(_folded, partial(_resnet20, models / "resnet20_cifar10.th"))
        for name, file, image in (
            ("resnet8-tflite", "resnet8_cifar10_float.tflite", (3, 32, 32)),
            ("vww96-tflite", "vww96_mobilenetv1_025_float.tflite", (3, 96, 96)),
        ):
            found[name] = partial(_folded, partial(from_tflite, models / file, image))
    return found


def _given(path: Path) -> onnx.ModelProto:
    return as_given(onnx.load(path))


def _resnet20(weights: Path) -> onnx.ModelProto:
    return from_torch("resnet_option_a:resnet20", weights, (3, 32, 32), ROOT / "tests/network")


def _folded(build: Build) -> onnx.ModelProto:
    """Return a network as kpufit reads it, with its batch normalisations folded."""
    model = normal_form(build())
    if all(node.op_type != "BatchNormalization" for node in model.graph.node):
        return as_given(model)
    return as_given(to_onnx(fold_batchnorm(fuse(to_torch(model))), _contract(_image(model))))


def as_given(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network as kpufit gives it to nncase: one image, every shape inferred."""
    return onnx.load_model_from_string(checked_onnx(model.SerializeToString(), _image(model)))


def _image(model: onnx.ModelProto) -> tuple[int, int, int]:
    weights = {tensor.name for tensor in model.graph.initializer}
    image = next(value for value in model.graph.input if value.name not in weights)
    channels, height, width = (dim.dim_value for dim in image.type.tensor_type.shape.dim[1:])
    return channels, height, width


def _contract(image: tuple[int, int, int]) -> InputContract:
    return InputContract(image, (0.0,) * image[0], (1.0,) * image[0])
