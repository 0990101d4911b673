"""Depthwise with a multiplier m (groups = C, m·C outputs) → a 1×1 that repeats each channel and a plain depthwise.

Output o reads channel ⌊o/m⌋ with a kernel of its own: after a 1×1 that copies channel ⌊o/m⌋ to place o, that is a
depthwise convolution of m·C channels with the same kernels. The copies have their source's range, so quantising them
loses nothing; without a bias, zero padding stays zero. One dense convolution with zeros elsewhere does the same in one
layer; it is taken where it takes fewer bytes of the kmodel, which is so over few channels.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from pipeline.kpu.limits import KERNELS, MAX_CHANNELS
from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.cost import chain_cost
from pipeline.replacement.maps import value_shape
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.rules.grouped_dense import as_dense

_FEW = 4
"""Channels up to which a dense kernel that is too large for the KPU has an exact form (shift-kernel)."""


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    if conv.groups == 1 or conv.groups != conv.in_channels:
        return Miss("not depthwise")
    if conv.out_channels == conv.in_channels:
        return Miss("as many outputs as inputs")
    if conv.padding_mode != "zeros":
        return Miss(f"padded by {conv.padding_mode}, not by zeros")
    if conv.out_channels > MAX_CHANNELS:
        return Miss(f"{conv.out_channels:,} channels, over {MAX_CHANNELS:,}")
    return Match((site.node,), describe(conv))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    dense, repeated = nn.Sequential(as_dense(conv)), _repeated(conv)
    if pair(conv.kernel_size) not in [(size, size) for size in KERNELS]:
        return Built(dense if conv.in_channels <= _FEW else repeated)
    before = site.before()
    shape = None if before is None else value_shape(site, before)
    if shape is None:
        return Built(min(repeated, dense, key=_weights))
    costs = [(chain, chain_cost(chain, shape)) for chain in (repeated, dense)]
    return Built(min(costs, key=lambda each: (len(each[1].cpu), each[1].kmodel_bytes, each[1].cycles))[0])


def _weights(chain: nn.Sequential) -> int:
    return sum(value.numel() for value in chain.parameters())


def _repeated(conv: nn.Conv2d) -> nn.Sequential:
    repeat = blank_pointwise(conv.in_channels, conv.out_channels)
    repeat.bias = None
    copies = conv.out_channels // conv.in_channels
    depthwise = nn.Conv2d(
        conv.out_channels,
        conv.out_channels,
        pair(conv.kernel_size),
        pair(conv.stride),
        conv.padding if isinstance(conv.padding, str) else pair(conv.padding),
        pair(conv.dilation),
        groups=conv.out_channels,
        bias=False,
        device="meta",
    ).to_empty(device="cpu")
    with torch.no_grad():
        repeat.weight.copy_(torch.eye(conv.in_channels).repeat_interleave(copies, 0)[..., None, None])
        depthwise.weight.copy_(conv.weight)
    depthwise.bias = copy.deepcopy(conv.bias)
    chain = nn.Sequential()
    chain.add_module("repeat", repeat)
    chain.add_module("depthwise", depthwise)
    return chain


RULE = Rule(
    name="depth-multiplier",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches="depthwise convolutions with more outputs than inputs",
    becomes="a 1×1 that repeats each channel, and a depthwise; or a dense one where that takes fewer bytes",
    why="nncase 1.9 takes it for a dense convolution and compiles it to wrong numbers (cosine 0.44)",
    source="fake_kpu_conv2d.cpp:60 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
