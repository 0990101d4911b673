"""A grouped k×k → 1×1, depthwise k×k, 1×1, learned: for groups whose dense kernel would be too large.

The kernels that read one input channel, a matrix of (outputs of the group) × k² numbers, are nearly made of few
shapes: its first singular vectors become that channel's depthwise kernels, so the first 1×1 repeats each channel. The
last 1×1 is solved by least squares on the layer's own outputs, then regression fits all three. There is no activation
between, as the layer replaced has none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.least_squares import fit_pointwise
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_SHAPES = 2
"""Depthwise kernels for one input channel."""


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    if conv.groups == 1:
        return Miss("dense, not grouped")
    if conv.groups == conv.in_channels:
        return Miss("depthwise, not grouped")
    if pair(conv.kernel_size) == (1, 1):
        return Miss("a 1×1 is dense at little cost")
    if conv.padding_mode != "zeros":
        return Miss(f"padded by {conv.padding_mode}, not by zeros")
    if max(conv.in_channels, conv.out_channels) > MAX_CHANNELS:
        return Miss(f"{max(conv.in_channels, conv.out_channels):,} channels, over {MAX_CHANNELS:,}")
    return Match((site.node,), f"{describe(conv)}; {_shapes(conv)} depthwise kernels a channel")


def _shapes(conv: nn.Conv2d) -> int:
    """How many depthwise kernels an input channel gets."""
    enough = min(conv.out_channels // conv.groups, _SHAPES)
    return max(1, min(enough, MAX_CHANNELS // conv.in_channels))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    wide = _shapes(conv) * conv.in_channels
    depthwise = nn.Conv2d(
        wide,
        wide,
        pair(conv.kernel_size),
        pair(conv.stride),
        conv.padding if isinstance(conv.padding, str) else pair(conv.padding),
        pair(conv.dilation),
        groups=wide,
        bias=False,
        device="meta",
    ).to_empty(device="cpu")
    nn.init.zeros_(depthwise.weight)
    chain = nn.Sequential()
    if wide > conv.in_channels:
        repeat = blank_pointwise(conv.in_channels, wide)
        repeat.bias = None  # behind the zero padding it would be missing
        chain.add_module("repeat", repeat)
    chain.add_module("depthwise", depthwise)
    chain.add_module("mix", blank_pointwise(wide, conv.out_channels))
    return Built(chain)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    count, taps = _shapes(conv), pair(conv.kernel_size)
    grouped = conv.weight.detach().view(conv.groups, -1, conv.in_channels // conv.groups, taps[0] * taps[1])
    by_input = grouped.transpose(1, 2).flatten(0, 1)  # input channels × outputs of the group × taps
    spread = outputs.var((0, 2, 3)).clamp_min(1e-8).sqrt().view(conv.groups, 1, -1).expand(-1, grouped.shape[2], -1)
    shapes = torch.linalg.svd(by_input / spread.flatten(0, 1)[..., None], full_matrices=False).Vh[:, :count]
    layers = dict(chain.named_children())
    depthwise, mix = layers["depthwise"], layers["mix"]
    assert isinstance(depthwise, nn.Conv2d)
    assert isinstance(mix, nn.Conv2d)
    assert mix.bias is not None
    with torch.no_grad():
        if "repeat" in layers:
            repeat = layers["repeat"]
            assert isinstance(repeat, nn.Conv2d)
            repeat.weight.copy_(torch.eye(conv.in_channels).repeat_interleave(count, 0)[..., None, None])
            inputs = repeat(inputs)
        depthwise.weight.copy_(shapes.reshape(-1, 1, *taps))
        weight, bias = fit_pointwise(depthwise(inputs), outputs)
        mix.weight.copy_(weight[..., None, None])
        mix.bias.copy_(bias)


RULE = Rule(
    name="grouped-separable",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches="grouped kernels larger than 1×1 whose dense form would be too large",
    becomes=f"a 1×1 that repeats each channel up to {_SHAPES} times, a depthwise kernel of the same size, a 1×1",
    why="nncase 1.9 runs every convolution with groups, but for depthwise ones, in float32 on the CPU",
    source="fake_kpu_conv2d.cpp:60,96 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
