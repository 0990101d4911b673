"""A 3×3 average pool of padding 1 → a depthwise 3×3 of ninths, exact but for the border of a pool that counts no pads.

Stride 2 is done by a 1×1 identity behind it: nncase 1.9 has a depthwise convolution of stride 2 done at full size and
cuts it on the CPU. Where that identity would be too large, the depthwise one has the stride.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.replacement.convolution import blank_conv, pair
from pipeline.replacement.pools import MOST_CHANNELS, identity, shape_of
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    pool = site.module()
    assert isinstance(pool, nn.AvgPool2d)
    if pair(pool.kernel_size) != (3, 3) or pair(pool.padding) != (1, 1):
        return Miss("not 3×3 with padding 1")
    stride = pair(pool.stride)
    if stride not in ((1, 1), (2, 2)):
        return Miss("stride is neither 1 nor 2")
    before = site.before()
    assert before is not None
    shape, gives = shape_of(site, before), shape_of(site, site.node)
    if shape is None or gives is None:
        return Miss("the size of its map is not known")
    if gives[1:] != tuple((side - 1) // stride[0] + 1 for side in shape[1:]):
        return Miss("rounds its size up")
    counted = "pads counted" if pool.count_include_pad else "pads not counted"
    return Match((site.node,), f"3×3, stride {stride[0]}, {counted}, {shape[0]} channels")


def _build(site: Site, match: Match) -> Built:
    pool, before = site.module(), site.before()
    assert isinstance(pool, nn.AvgPool2d)
    assert before is not None
    shape = shape_of(site, before)
    assert shape is not None
    channels, stride = shape[0], pair(pool.stride)[0]
    apart = stride == 2 and channels <= MOST_CHANNELS
    mean = blank_conv(channels, channels, bias=False, stride=1 if apart else stride, groups=channels)
    with torch.no_grad():
        mean.weight.fill_(1 / (pool.divisor_override or 9))
    chain = nn.Sequential()
    chain.add_module("mean", mean)
    if apart:
        chain.add_module("sample", identity(channels, 2))
    return Built(chain)


RULE = Rule(
    name="average-pool-conv",
    kind="exact",
    concerns=(nn.AvgPool2d,),
    matches="average pools 3×3 with padding 1, stride 1 or 2",
    becomes="a depthwise 3×3 of ninths, for stride 2 a 1×1 identity of that stride behind it",
    why="the KPU pools 2×2 and 4×4 alone: nncase 1.9 runs other windows in float32 on the CPU",
    source="kpu_utils.h:57 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    inexact="at the border of a pool that counts no pads: it divides by 6 or 4 there, the convolution by 9",
)
