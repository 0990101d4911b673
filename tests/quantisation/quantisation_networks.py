"""Networks for the tests of quantisation: small, random, with batch-norm statistics that differ from 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from pipeline.network.contract import InputContract
from pipeline.network.fold import fold_batchnorm
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Reshape
from pipeline.quantisation.channel_groups import constants, find_groups

CONTRACT = InputContract((3, 12, 12), (0.4, 0.4, 0.4), (0.3, 0.3, 0.3))


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution with batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def head(channels: int, classes: int = 4) -> nn.Sequential:
    """Pool, flatten, classify."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class Residual(nn.Module):
    """Two convolutions and a shortcut, 1×1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, outputs, stride=stride), nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class Gate(nn.Module):
    """Squeeze and excitation: a sigmoid of the mean multiplies the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


def plain() -> nn.Module:
    return nn.Sequential(
        *(conv(3, 8), nn.MaxPool2d(2), conv(8, 12), nn.Conv2d(12, 12, 1), nn.LeakyReLU(0.1)),
        *(conv(12, 16, stride=2), head(16)),
    )


def residual() -> nn.Module:
    return nn.Sequential(conv(3, 8), Residual(8, 8, 1), Residual(8, 16, 2), head(16))


def mobile() -> nn.Module:
    return nn.Sequential(
        *(conv(3, 8, stride=2), conv(8, 8, groups=8), conv(8, 16, 1)),
        *(conv(16, 16, stride=2, groups=16), conv(16, 24, 1), head(24)),
    )


def flattened() -> nn.Module:
    return nn.Sequential(conv(3, 8, stride=2), nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU(), nn.Linear(16, 4))


def assorted() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 1, 1), nn.Hardtanh(0.0, math.inf), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 1), nn.ReLU6()),
        *(nn.Conv2d(8, 8, 1), nn.Hardswish(), Gate(), nn.Conv2d(8, 8, 1), nn.SiLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(8, 8, 1), nn.Tanh(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(8, 4)),
    )


def slicing() -> nn.Module:
    """A network with a reshape that no layer of ours stands for."""

    return nn.Sequential(conv(3, 8), Reshape((16, 6, 12)), conv(16, 8), head(8))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    network.__name__: network for network in (plain, residual, mobile, flattened, assorted, slicing)
}


def make(name: str, *, folded: bool = True, seed: int = 0) -> onnx.ModelProto:
    """Return a network of ``NETWORKS`` as ONNX, batch norm folded or kept."""
    torch.manual_seed(seed)
    network = NETWORKS[name]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    model = to_onnx(network, CONTRACT)
    return to_onnx(fold_batchnorm(to_torch(model)), CONTRACT) if folded else model


def unbalance(model: onnx.ModelProto, factor: float, every: int = 4) -> onnx.ModelProto:
    """Scale every few channels of each group up by ``factor`` and their readers down: the function stays."""
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    values = constants(scaled)
    for group in find_groups(scaled):
        for index in (*group.writers, *group.readers):
            node = scaled.graph.node[index]
            depthwise = any(a.name == "group" and a.i > 1 for a in node.attribute)
            if index in group.readers:
                kernel = values[node.input[1]].copy()
                if depthwise:
                    kernel[::every] /= factor
                elif kernel.shape[1] == group.channels:
                    kernel[:, ::every] /= factor
                else:
                    kernel.reshape(len(kernel), group.channels, -1)[:, ::every] /= factor
                values[node.input[1]] = kernel
            if index in group.writers:
                for name in node.input[1:]:
                    values[name] = values[name].copy()
                    values[name][::every] *= factor
    for tensor in scaled.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return scaled
