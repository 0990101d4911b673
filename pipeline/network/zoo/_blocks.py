"""What the architectures share."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pipeline.errors import RecipeError
from pipeline.network.modules import Add


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Return convolution (padding ``kernel // 2``), batch normalisation and an activation, or none."""
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        "bn": nn.BatchNorm2d(outputs),
    }
    if activation is not None:
        layers["act"] = activation()
    return nn.Sequential(OrderedDict(layers))


def head(channels: int, classes: int) -> OrderedDict[str, nn.Module]:
    """Return global average pool, flatten and fully connected layer, by name."""
    return OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(channels, classes))


def require_size(name: str, image: tuple[int, int, int], halvings: int) -> None:
    """Check that the last feature map is at least 4×4, the KPU's smallest (nncase v1.9.0 kpu_utils.h:21).

    Raises:
        RecipeError: the image is too small.
    """
    smallest = 4 << halvings
    if min(image[1:]) < smallest:
        raise RecipeError(
            f"{name} needs images of at least {smallest}×{smallest}, not {image[1]}×{image[2]}",
            where="data.image",
            remedy="enlarge the images or choose another architecture",
        )


def strides(image: tuple[int, int, int], wanted: int) -> list[int]:
    """Return ``wanted`` strides: 1 at first, then 2 as often as ``image`` can be halved to no less than 4×4.

    The KPU computes stride 2 at full resolution and keeps every other pixel, exact on even sizes only, and takes no
    map under 4×4 (nncase v1.9.0 kpu_utils.h:21, fake_kpu_conv2d.cpp:141).
    """
    halvings, (height, width) = 0, image[1:]
    while halvings < wanted and height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        halvings, height, width = halvings + 1, height // 2, width // 2
    return [1] * (wanted - halvings) + [2] * halvings


class Residual(nn.Module):
    """``act(body(x) + shortcut(x))``; without a shortcut, x itself; without an activation, the sum."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None, activation: nn.Module | None) -> None:
        super().__init__()
        self.body, self.shortcut, self.add, self.act = body, shortcut, Add(), activation

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.add(self.body(x), x if self.shortcut is None else self.shortcut(x))
        return y if self.act is None else self.act(y)
