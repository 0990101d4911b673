"""A transposed 2×2 of stride 2 → a transposed 3×3 of stride 2, exact.

``y[2i + a] = w[a]·x[i]`` for a = 0, 1. With padding 1 and output padding 1 a 3×3 gives ``y[2i + k − 1] += v[k]·x[i]``
on a map of the same size, so v = (0, w[0], w[1]) along each axis.
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
    if kernel != (2, 2) or stride != (2, 2):
        return Miss(f"{kernel[0]}×{kernel[1]}, stride {stride[0]}×{stride[1]}, not 2×2 with stride 2")
    if isinstance(conv.padding, str) or any((*pair(conv.padding), *pair(conv.output_padding))):
        return Miss("padded")
    if conv.groups != 1 or pair(conv.dilation) != (1, 1):
        return Miss("grouped or dilated")
    return Match((site.node,), f"2×2, {conv.in_channels}→{conv.out_channels}, stride 2")


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    made = nn.ConvTranspose2d(
        conv.in_channels, conv.out_channels, 3, 2, 1, 1, bias=conv.bias is not None, device="meta"
    ).to_empty(device="cpu")
    with torch.no_grad():
        made.weight.copy_(nn.functional.pad(conv.weight, (1, 0, 1, 0)))
        if conv.bias is not None and made.bias is not None:
            made.bias.copy_(conv.bias)
    return Built(nn.Sequential(made))


RULE = Rule(
    name="transposed-kernel",
    kind="exact",
    concerns=(nn.ConvTranspose2d,),
    matches="transposed convolutions 2×2 of stride 2",
    becomes="a transposed 3×3 of stride 2, zeros in its first row and column",
    why="nncase 1.9 does not compile a transposed 2×2; the 3×3 is a convolution of the KPU behind a Pad of the CPU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
