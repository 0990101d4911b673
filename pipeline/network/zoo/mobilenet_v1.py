"""MobileNetV1 (arXiv:1704.04861) with ReLU6.

``width`` is the channels of its first convolution: 32 is ×1.0, 8 is ×0.25.

On images too small for five halvings the first ones are left out.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pipeline.network.zoo._blocks import conv_bn, head, require_size, strides

_STAGES = ((2, 1), (4, 2), (8, 2), (16, 6), (32, 2))
"""Channels in multiples of the first convolution's, and blocks; each stage but the first begins with a halving."""


def build(image: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Return the untrained network."""
    require_size("mobilenet_v1", image, halvings=0)
    step = iter(strides(image, 5))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=conv_bn(image[0], width, 3, stride=next(step), activation=nn.ReLU6)
    )
    channels = width
    for stage, (multiple, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            stride = next(step) if stage and not block else 1
            name = f"block{stage + 1}_{block + 1}"
            layers[f"{name}_depthwise"] = conv_bn(
                channels, channels, 3, stride=stride, groups=channels, activation=nn.ReLU6
            )
            layers[f"{name}_pointwise"] = conv_bn(channels, multiple * width, 1, activation=nn.ReLU6)
            channels = multiple * width
    layers.update(head(channels, classes))
    return nn.Sequential(layers)
