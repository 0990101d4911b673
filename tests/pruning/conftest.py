"""Small networks of every kind of coupling, and data to weigh their channels with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from pipeline.network.contract import InputContract
from pipeline.network.trace import trace
from pipeline.training.data.sets import DataSet

IMAGE = (3, 16, 16)


def conv_bn(channels: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


def plain() -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        first=conv_bn(3, 12, 5, 2), second=conv_bn(12, 20), third=conv_bn(20, 16)
    )
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(16, 4))
    return nn.Sequential(layers)


def depthwise() -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        first=conv_bn(3, 16),
        second=conv_bn(16, 16, groups=16),
        third=conv_bn(16, 24, 1),
        fourth=conv_bn(24, 24, 3, 2, 24),
    )
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(24, 4))
    return nn.Sequential(layers)


class Residual(nn.Module):
    """Two blocks: one with the identity as its shortcut, one with a strided 1×1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 12)
        self.left1, self.left2 = conv_bn(12, 18), conv_bn(18, 12)
        self.down1, self.down2 = conv_bn(12, 20, 3, 2), conv_bn(20, 20)
        self.shortcut = nn.Conv2d(12, 20, 1, 2)
        self.pool, self.flatten, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 4)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        x = self.stem(image)
        x = x + self.left2(self.left1(x))
        x = self.shortcut(x) + self.down2(self.down1(x))
        logits: Tensor = self.classifier(self.flatten(self.pool(x)))
        return logits


class Concatenating(nn.Module):
    """Two branches side by side, one layer behind them, flattened with its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.both = conv_bn(3, 10, 3, 4), conv_bn(3, 6, 5, 4), conv_bn(16, 8)
        self.flatten, self.classifier = nn.Flatten(), nn.Linear(8 * 16, 4)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        both = self.both(torch.cat([self.wide(image), self.narrow(image)], 1))
        logits: Tensor = self.classifier(self.flatten(both))
        return logits


class Bound(nn.Module):
    """A network with channels bound by a constant, and others that the dependency graph gets wrong.

    Torch-Pruning 1.6.1 maps a concatenation that is flattened at once onto the wrong inputs of the layer behind.
    """

    def __init__(self) -> None:
        super().__init__()
        self.free, self.bound = conv_bn(3, 8, 3, 2), conv_bn(8, 6, 3, 2)
        self.wide, self.narrow = conv_bn(6, 10), conv_bn(6, 6)
        self.flatten, self.classifier = nn.Flatten(), nn.Linear(16 * 16, 4)
        self.scale = nn.Buffer(torch.rand(1, 6, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        x = self.bound(self.free(image)) * self.scale
        logits: Tensor = self.classifier(self.flatten(torch.cat([self.wide(x), self.narrow(x)], 1)))
        return logits


KINDS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "depthwise": depthwise,
    "residual": Residual,
    "concatenating": Concatenating,
    "bound": Bound,
}


def make(kind: str) -> fx.GraphModule:
    torch.manual_seed(3)
    network = trace(KINDS[kind]())
    with torch.no_grad():
        network.train()(torch.randn(64, *IMAGE))  # BatchNorm statistics unlike their defaults
    return network.eval()


@pytest.fixture(params=sorted(KINDS))
def network(request: pytest.FixtureRequest) -> fx.GraphModule:
    """Return a network of each kind."""
    return make(request.param)


@pytest.fixture
def make_network() -> Callable[[str], fx.GraphModule]:
    """Return a function that makes the network of a kind."""
    return make


@pytest.fixture(scope="session")
def contract() -> InputContract:
    """Return the input of every network here."""
    return InputContract(IMAGE, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="session")
def train() -> DataSet:
    """Return 200 random images of 4 classes."""
    rng = np.random.default_rng(4)
    return DataSet(rng.integers(0, 256, (200, *IMAGE), np.uint8), np.arange(200) % 4)
