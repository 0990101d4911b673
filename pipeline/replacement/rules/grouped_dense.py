"""A grouped convolution → a dense one with zeros between the groups, exactly.

A 1×1 always: its g times as many weights are few. Larger kernels where the weights stay few; the others are for
grouped-separable.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.kpu.limits import MAX_CHANNELS, MAX_WEIGHT_LOADS, weight_loads
from pipeline.replacement.branches import dense_kernel
from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_MOST_GROWTH = 4
"""Weights of the dense kernel over those of the grouped one, for kernels larger than 1×1."""
_SMALL = 65536
"""Weights (bytes in a kmodel) below which growth does not matter."""


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    if conv.groups == 1:
        return Miss("dense already")
    if conv.groups == conv.in_channels == conv.out_channels:
        return Miss("depthwise, which the KPU runs")
    if conv.groups == conv.in_channels:
        return Miss("depthwise with a multiplier, not grouped")
    if max(conv.in_channels, conv.out_channels) > MAX_CHANNELS:
        return Miss(f"{max(conv.in_channels, conv.out_channels):,} channels, over {MAX_CHANNELS:,}")
    kernel = pair(conv.kernel_size)
    before, after = conv.weight.numel(), conv.weight.numel() * conv.groups
    if kernel != (1, 1) and after > max(_SMALL, _MOST_GROWTH * before):
        return Miss(f"dense, its {before:,} weights would be {after:,}, more than {_MOST_GROWTH} times as many")
    loads = weight_loads(conv.in_channels, conv.out_channels, max(kernel))
    if loads > MAX_WEIGHT_LOADS:
        return Miss(f"dense, its weights would be loaded in {loads} portions, over {MAX_WEIGHT_LOADS}")
    return Match((site.node,), f"{describe(conv)}; {before:,}→{after:,} weights")


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    return Built(nn.Sequential(as_dense(conv)))


def as_dense(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the same convolution without groups."""
    dense = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        pair(conv.kernel_size),
        pair(conv.stride),
        conv.padding if isinstance(conv.padding, str) else pair(conv.padding),
        pair(conv.dilation),
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        device="meta",
    ).to_empty(device="cpu")
    with torch.no_grad():
        dense.weight.copy_(dense_kernel(conv))
        if conv.bias is not None and dense.bias is not None:
            dense.bias.copy_(conv.bias)
    return dense


RULE = Rule(
    name="grouped-dense",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches="grouped 1×1, and larger grouped kernels with few groups or few weights",
    becomes="the dense convolution, with zeros between the groups",
    why="nncase 1.9 runs every convolution with groups, but for depthwise ones, in float32 on the CPU",
    source="fake_kpu_conv2d.cpp:60,96 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
