"""A large kernel over few channels (an image) → shifts and one 3×3 convolution, exactly.

A 3×3 convolution can shift: a kernel that is 1 at one tap copies its input, moved by one pixel. A 5×5 or 7×7 kernel
is a sum of nine 3×3 kernels, each over a shifted copy of the input; so shifted copies first, then one 3×3 convolution
over all of them, compute the same. Along one axis the offset o of a tap of the large kernel is made of a shift a and
a tap b:

- stride 1: o = a + b. 5 taps: a ∈ {−1, 0, 1}. 7 taps: a ∈ {−2, 0, 2}, made by two convolutions of one pixel each.
- stride 2, the shifting convolution having the stride: o = a + 2b. 5 taps: a ∈ {0, 1}. 7 taps: a ∈ {−1, 0, 1}, so that
  two layers do for 7×7, and everything but the input is at half resolution.

The choice of (a, b) below also holds at the zero-padded border: where a copy's pixel lies outside the map, and is
therefore zero, the input's pixel that it would hold lies outside too.

There is no activation between: the KPU's activation table can be the identity. A copy has its input's range, so
quantising it again loses nothing.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import nn

from pipeline.replacement.convolution import blank_conv, copy_bias, describe, not_dense_same, pair
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_MOST_CHANNELS = 4
"""More channels would make the copies heavier than a learned stack: they are 4 or 9 times as many."""

_SPLIT: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {
    # (kernel, stride): shift and tap for the offsets −⌊k/2⌋ … ⌊k/2⌋
    (5, 1): ((-1, -1), (-1, 0), (0, 0), (1, 0), (1, 1)),
    (7, 1): ((-2, -1), (-2, 0), (0, -1), (0, 0), (0, 1), (2, 0), (2, 1)),
    (5, 2): ((0, -1), (1, -1), (0, 0), (1, 0), (0, 1)),
    (7, 2): ((-1, -1), (0, -1), (-1, 0), (0, 0), (1, 0), (0, 1), (1, 1)),
}


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    reason = not_dense_same(conv)
    if reason:
        return Miss(reason)
    if (pair(conv.kernel_size)[0], pair(conv.stride)[0]) not in _SPLIT:
        return Miss("neither 5×5 nor 7×7")
    if conv.in_channels > _MOST_CHANNELS:
        return Miss(
            f"{conv.in_channels} input channels, more than {_MOST_CHANNELS}: the shifted copies would be too many"
        )
    return Match((site.node,), describe(conv))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    kernel, stride = pair(conv.kernel_size)[0], pair(conv.stride)[0]
    split = _SPLIT[kernel, stride]
    shifts = sorted({shift for shift, _ in split})
    copies = list(product(range(conv.in_channels), shifts, shifts))
    chain = nn.Sequential()
    made = [(channel, 0, 0) for channel in range(conv.in_channels)]
    while made != copies:
        reach = _reach(made) + 1
        further = [(channel, _clamp(row, reach), _clamp(column, reach)) for channel, row, column in copies]
        chain.add_module(f"shift{len(chain) + 1}", _shift(made, further, stride if not len(chain) else 1))
        made = further
    last = blank_conv(len(copies), conv.out_channels, bias=conv.bias is not None)
    with torch.no_grad():
        for (row, (row_shift, row_tap)), (column, (column_shift, column_tap)) in product(
            enumerate(split), enumerate(split)
        ):
            for channel in range(conv.in_channels):
                copied = copies.index((channel, row_shift, column_shift))
                last.weight[:, copied, row_tap + 1, column_tap + 1] = conv.weight[:, channel, row, column]
    copy_bias(conv, last)
    chain.add_module("sum", last)
    return Built(chain)


def _reach(copies: list[tuple[int, int, int]]) -> int:
    """How many pixels the farthest of some copies (channel, rows, columns) was moved."""
    return max(row for _, row, _ in copies)


def _clamp(shift: int, reach: int) -> int:
    return max(-reach, min(reach, shift))


def _shift(given: list[tuple[int, int, int]], wanted: list[tuple[int, int, int]], stride: int) -> nn.Conv2d:
    """The convolution that makes each wanted copy from the given one that lies nearest to it, towards the unmoved."""
    conv = blank_conv(len(given), len(wanted), bias=False, stride=stride)
    reach = _reach(given)
    with torch.no_grad():
        for index, (channel, row, column) in enumerate(wanted):
            near = (channel, _clamp(row, reach), _clamp(column, reach))
            conv.weight[index, given.index(near), row - near[1] + 1, column - near[2] + 1] = 1.0
    return conv


RULE = Rule(
    name="shift-kernel",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches=f"dense 5×5 and 7×7, stride 1 or 2, over at most {_MOST_CHANNELS} channels",
    becomes="one or two 3×3 that make shifted copies (the first has the stride), then one 3×3 over all of them",
    why="nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU",
    source="kpu_utils.h:36 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
