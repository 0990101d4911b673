"""ResNet8 for small images; ``width`` is the channels of its first convolution (16 in the literature)."""

from __future__ import annotations

from torch import nn

from pipeline.network.zoo._resnet import resnet


def build(image: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Return the untrained network."""
    return resnet("resnet8", image, classes, width, blocks=1)
