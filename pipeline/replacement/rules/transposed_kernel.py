"""A transposed 2×2 of stride 2 → a transposed 3×3 of stride 2, exact.

``y[2i + a] = w[a]·x[i]`` for a = 0, 1. With padding 1 and output padding 1 a 3×3 gives ``y[2i + k − 1] += v[k]·x[i]``
on a map of the same size, so v = (0, w[0], w[1]) along each axis. Grouped ones become dense, with zeros between groups,
unless they are depthwise.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.replacement.convolution import pair
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    kernel, stride = pair(conv.kernel_size), pair(conv.stride)
    groups = _groups(conv)
    if kernel not in ((2, 2), (3, 3)) or stride != (2, 2) or (kernel == (3, 3) and groups == conv.groups):
        return Miss(f"{kernel[0]}×{kernel[1]}, stride {stride[0]}×{stride[1]}, not 2×2 with stride 2 or a grouped 3×3")
    if isinstance(conv.padding, str) or pair(conv.dilation) != (1, 1):
        return Miss("dilated")
    margin = kernel[0] - 2
    if {*pair(conv.padding), *pair(conv.output_padding)} != {margin}:
        return Miss("padded so that its output is not twice the size of its input")
    grouped = f", {conv.groups} groups" if conv.groups > 1 else ""
    return Match((site.node,), f"{kernel[0]}×{kernel[0]}, {conv.in_channels}→{conv.out_channels}, stride 2{grouped}")


def _groups(conv: nn.ConvTranspose2d) -> int:
    """The groups that nncase compiles: 1, or one a channel."""
    return conv.groups if conv.groups == conv.in_channels == conv.out_channels else 1


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    groups, more = _groups(conv), 3 - pair(conv.kernel_size)[0]
    made = nn.ConvTranspose2d(
        conv.in_channels, conv.out_channels, 3, 2, 1, 1, groups, bias=conv.bias is not None, device="meta"
    ).to_empty(device="cpu")
    weight = nn.functional.pad(conv.weight, (more, 0, more, 0))
    outputs = weight.shape[1]
    with torch.no_grad():
        made.weight.zero_()
        for group, block in enumerate(weight.chunk(conv.groups // groups)):
            inputs = slice(group * len(block), (group + 1) * len(block))
            made.weight[inputs, group * outputs : (group + 1) * outputs] = block
        if conv.bias is not None and made.bias is not None:
            made.bias.copy_(conv.bias)
    return Built(nn.Sequential(made))


RULE = Rule(
    name="transposed-kernel",
    kind="exact",
    concerns=(nn.ConvTranspose2d,),
    matches="transposed convolutions 2×2 of stride 2, and grouped ones, also 3×3",
    becomes="a transposed 3×3 of stride 2, dense or depthwise; of a 2×2, zeros in its first row and column",
    why="nncase 1.9 does not compile a transposed 2×2; the 3×3 is a convolution of the KPU behind a Pad of the CPU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
