"""A plain network that starts as many do, with kernels the KPU cannot run: 5×5, 5×5, then 3×3.

``width`` is the channels of its second convolution: width/2, width, 2·width, 2·width. Each of the first three is
followed by a 2×2 max-pool, which the KPU fuses into the convolution. On 1×32×32 images with width 32 it has 69,498
parameters.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pipeline.network.zoo._blocks import conv_bn, head, require_size


def build(image: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Return the untrained network."""
    require_size("convnet5x5", image, halvings=3)
    narrow, wide = max(1, width // 2), 2 * width
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=conv_bn(image[0], narrow, 5),
        pool1=nn.MaxPool2d(2),
        conv2=conv_bn(narrow, width, 5),
        pool2=nn.MaxPool2d(2),
        conv3=conv_bn(width, wide, 3),
        pool3=nn.MaxPool2d(2),
        conv4=conv_bn(wide, wide, 3),
    )
    layers.update(head(wide, classes))
    return nn.Sequential(layers)
