"""What the architectures share."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pipeline.errors import RecipeError


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
