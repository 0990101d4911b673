"""The ResNets for small images: three stages of basic blocks, 1, 2 and 4 times ``width`` channels.

From He et al., Deep Residual Learning (arXiv:1512.03385), section 4.2.

Shortcuts that change shape are a 1×1 convolution of stride 2 (option B): unlike zero-padded ones (option A) the KPU
can run them.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pipeline.network.zoo._blocks import Residual, conv_bn, head, require_size


def resnet(name: str, image: tuple[int, int, int], classes: int, width: int, *, blocks: int) -> nn.Module:
    """Return the untrained network with ``blocks`` blocks a stage.

    Raises:
        RecipeError: the image is too small.
    """
    require_size(name, image, halvings=2)
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=conv_bn(image[0], width, 3))
    channels = width
    for stage in range(3):
        for block in range(blocks):
            outputs, stride = width << stage, 2 if stage and not block else 1
            layers[f"stage{stage + 1}_{block + 1}"] = _block(channels, outputs, stride)
            channels = outputs
    layers.update(head(channels, classes))
    return nn.Sequential(layers)


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    body = nn.Sequential(
        OrderedDict(
            first=conv_bn(inputs, outputs, 3, stride=stride), second=conv_bn(outputs, outputs, 3, activation=None)
        )
    )
    same = inputs == outputs and stride == 1
    shortcut = None if same else conv_bn(inputs, outputs, 1, stride=stride, activation=None)
    return Residual(body, shortcut, nn.ReLU())
