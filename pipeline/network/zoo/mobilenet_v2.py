"""MobileNetV2 (arXiv:1801.04381).

``width`` is the channels of its first convolution: 32 is ×1.0, 16 is ×0.5.

On images too small for five halvings the first ones are left out. The last 1×1 convolution has at most 1,024 channels
instead of 1,280: more run on the CPU (nncase v1.9.0 kpu_utils.h:26).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pipeline.network.zoo._blocks import Residual, conv_bn, head, require_size, strides

_STAGES = ((1, 16, 1, False), (6, 24, 2, True), (6, 32, 3, True), (6, 64, 4, True), (6, 96, 3, False))
_LAST_STAGES = ((6, 160, 3, True), (6, 320, 1, False))
"""Expansion, channels at ×1.0, blocks, whether the stage begins with a halving (table 2 of the paper)."""

_MOST_CHANNELS = 1024


def build(image: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Return the untrained network."""
    require_size("mobilenet_v2", image, halvings=0)
    step = iter(strides(image, 5))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=conv_bn(image[0], width, 3, stride=next(step), activation=nn.ReLU6)
    )
    channels = width
    for stage, (expansion, full, blocks, halves) in enumerate((*_STAGES, *_LAST_STAGES)):
        outputs = max(1, round(full * width / 32))
        for block in range(blocks):
            stride = next(step) if halves and not block else 1
            layers[f"block{stage + 1}_{block + 1}"] = _block(channels, outputs, expansion, stride)
            channels = outputs
    last = min(_MOST_CHANNELS, max(1, round(1280 * width / 32)))
    layers["last"] = conv_bn(channels, last, 1, activation=nn.ReLU6)
    layers.update(head(last, classes))
    return nn.Sequential(layers)


def _block(inputs: int, outputs: int, expansion: int, stride: int) -> nn.Module:
    inside = inputs * expansion
    body: OrderedDict[str, nn.Module] = OrderedDict()
    if expansion > 1:
        body["expand"] = conv_bn(inputs, inside, 1, activation=nn.ReLU6)
    body["depthwise"] = conv_bn(inside, inside, 3, stride=stride, groups=inside, activation=nn.ReLU6)
    body["project"] = conv_bn(inside, outputs, 1, activation=None)
    block = nn.Sequential(body)
    return Residual(block, None, None) if inputs == outputs and stride == 1 else block
