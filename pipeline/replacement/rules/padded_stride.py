"""3×3 of stride 2 that is not padded before the image (valid, TensorFlow's SAME) → the KPU's padding, exactly.

Along one axis of n pixels (n even), with b zeros before the image, ``y[i] = Σ_t w[t]·x[2i − b + t]``. The KPU has
b = 1. For b = 0 the taps reach one pixel further, so a second layer is needed. Two ways:

- over few channels (an image): with ``t − b = 2a + r``, r ∈ {0, 1}, it reads ``x_r[i + a]``, ``x_r[i] = x[2i + r]``.
  A first 3×3 of stride 2 makes the copies x_0 and x_1 (four of each channel, at half resolution), a 3×3 of stride 1
  over them has the weights. Beyond the image the copies are 0, as what they would hold is.
- else: ``y[i] = c[2i + 1 − b]``, c being the same kernel at stride 1 with padding 1. The KPU computes c anyway, as it
  runs stride 2 at full resolution. BatchNorm and activation follow at once, then a 3×3 of stride 2 picks the pixels
  under its tap 2 − b: depthwise where a 1×1 follows (or one that copies is put in), or dense where that takes fewer
  bytes.

Surplus outputs are at the end and are cropped.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import product

import torch
from torch import fx, nn

from pipeline.kpu import limits
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.network.modules import Slice
from pipeline.replacement.convolution import blank_conv, copy_bias, describe, folded_after, pair
from pipeline.replacement.cost import chain_cost
from pipeline.replacement.maps import value_shape
from pipeline.replacement.picks import copying, picking
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_FEW = 4
"""Channels up to which copies are made: they are four times as many."""


@dataclass(frozen=True)
class _Form:
    """What a convolution reads, and what of its new form differs from axis to axis.

    Attributes:
        pad: the layer of zeros before it, if there is one.
        shape: channels, height and width of what it reads.
        begins: zeros before the image.
        crops: surplus outputs at the end.
    """

    pad: fx.Node | None
    shape: tuple[int, int, int]
    begins: tuple[int, int]
    crops: tuple[int, int]


def _match(site: Site) -> Match | Miss:
    conv, form = site.module(), _form(site)
    assert isinstance(conv, nn.Conv2d)
    if isinstance(form, Miss):
        return form
    first = form.pad or site.node
    if _joined_with_others(site, first):
        return Miss("one of several branches that are put together: for the rules that merge them whole")
    nodes = (*((form.pad,) if form.pad is not None else ()), site.node, *folded_after(site))
    sides = [f"{begin} before" for begin in form.begins]
    return Match(nodes, f"{describe(conv)}, zeros: {sides[0]} the rows, {sides[1]} the columns")


def _build(site: Site, match: Match) -> Built:
    conv, form = site.module(), _form(site)
    assert isinstance(conv, nn.Conv2d)
    assert not isinstance(form, Miss)
    layers = _copied(conv, form) if _few(conv) else [_whole(conv)]
    layers += [copy.deepcopy(site.network.get_submodule(str(node.target))) for node in folded_after(site)]
    if not _few(conv):
        layers += _pick(site, conv, form)
    if any(form.crops):
        rows, columns = form.crops
        layers.append(Slice(((2, 0, -rows or None, 1), (3, 0, -columns or None, 1))))
    return Built(nn.Sequential(*layers))


def _form(site: Site) -> _Form | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    if (pair(conv.kernel_size), pair(conv.stride), pair(conv.dilation)) != ((3, 3), (2, 2), (1, 1)):
        return Miss("not a 3×3 of stride 2")
    if conv.groups > 1 and not conv.groups == conv.in_channels == conv.out_channels:
        return Miss("grouped")
    if conv.padding_mode != "zeros":
        return Miss(f"padded by {conv.padding_mode}, not by zeros")
    before = site.before()
    if before is None:
        return Miss("it reads several values")
    own = (0, 0) if isinstance(conv.padding, str) else pair(conv.padding)  # no "same" at stride 2
    left = right = top = bottom = 0
    zeros = site.module(before)
    pad = before if isinstance(zeros, nn.ZeroPad2d) and len(before.users) == 1 else None
    if pad is not None:
        assert isinstance(zeros, nn.ZeroPad2d)
        left, right, top, bottom = (int(side) for side in zeros.padding)
        before = pad.all_input_nodes[0]
    begins, ends = (own[0] + top, own[1] + left), (own[0] + bottom, own[1] + right)
    if begins == (1, 1):
        return Miss("padded before the image as the KPU pads")
    if begins[0] == 1 and conv.groups == 1:
        return Miss("padded before the rows as the KPU pads; the columns it picks itself (its right-top pool)")
    shape = value_shape(site, before)
    if shape is None:
        return Miss("the size of its input is not known here")
    channels, height, width = shape
    crops = [n // 2 - ((n + b + e - 3) // 2 + 1) for n, b, e in zip((height, width), begins, ends, strict=True)]
    if not set(begins) <= {0, 1} or min(crops) < 0:
        return Miss(f"{begins} zeros before and {ends} behind it reach further than the KPU's")
    if height % 2 or width % 2 or min(height, width) < 2 * limits.MIN_SIDE:
        return Miss(f"the KPU does not halve {height}×{width} pixels, but even sizes from {2 * limits.MIN_SIDE} on")
    whole = map_bytes(conv.out_channels, height, width)
    if not _few(conv) and whole + max(whole, map_bytes(channels, height, width)) > limits.KPU_MEMORY_BYTES:
        return Miss(f"the KPU does not hold two maps of {conv.out_channels}×{height}×{width}")
    return _Form(pad, (channels, height, width), begins, (crops[0], crops[1]))


def _joined_with_others(site: Site, first: fx.Node) -> bool:
    """Whether the layer is in one of several branches of a value that end in one sum or concat."""
    if len(first.all_input_nodes[0].users) == 1:
        return False
    node: fx.Node | None = site.node
    while node is not None and len(node.all_input_nodes) == 1:
        node = site.after(node)
    return node is not None and node.op == "call_module"


def _few(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 and conv.in_channels <= _FEW


def _copied(conv: nn.Conv2d, form: _Form) -> list[nn.Module]:
    """The copies of every other pixel, and the kernel over them."""
    channels = conv.in_channels
    kinds = list(product(range(channels), (0, 1), (0, 1)))
    copies = blank_conv(channels, len(kinds), bias=False, stride=2)
    summed = blank_conv(len(kinds), conv.out_channels, bias=conv.bias is not None)
    with torch.no_grad():
        for index, (channel, row, column) in enumerate(kinds):
            copies.weight[index, channel, 1 + row, 1 + column] = 1.0
        for row, column in product(range(3), range(3)):
            (down, odd_row), (right, odd_column) = divmod(row - form.begins[0], 2), divmod(column - form.begins[1], 2)
            for channel in range(channels):
                copied = kinds.index((channel, odd_row, odd_column))
                summed.weight[:, copied, 1 + down, 1 + right] = conv.weight[:, channel, row, column]
    copy_bias(conv, summed)
    return [copies, summed]


def _whole(conv: nn.Conv2d) -> nn.Conv2d:
    """The same kernel at full resolution."""
    whole = blank_conv(conv.in_channels, conv.out_channels, bias=conv.bias is not None, groups=conv.groups)
    with torch.no_grad():
        whole.weight.copy_(conv.weight)
    copy_bias(conv, whole)
    return whole


def _pick(site: Site, conv: nn.Conv2d, form: _Form) -> list[nn.Module]:
    """The layers that pick every other pixel, whichever take fewest bytes."""
    channels, taps = conv.out_channels, (2 - form.begins[0], 2 - form.begins[1])
    after = site.after((site.node, *folded_after(site))[-1])
    following = None if after is None else site.module(after)
    if not any(form.crops) and _takes_a_stride(following):
        return [picking(channels, taps, depthwise=True)]
    ways: list[list[nn.Module]] = [
        [picking(channels, taps, depthwise=False)],
        [picking(channels, taps, depthwise=True), copying(channels)],
    ]
    shape = (channels, *form.shape[1:])
    costs = [chain_cost(nn.Sequential(*way), shape) for way in ways]
    order = [(len(cost.cpu), cost.kmodel_bytes, cost.cycles) for cost in costs]
    return ways[order.index(min(order))]


def _takes_a_stride(module: nn.Module | None) -> bool:
    """Whether nncase moves a stride into a layer: a dense 1×1 that has none."""
    if not isinstance(module, nn.Conv2d) or module.groups != 1 or pair(module.kernel_size) != (1, 1):
        return False
    return pair(module.stride) == (1, 1) and module.padding in ("valid", 0, (0, 0))


RULE = Rule(
    name="padded-stride",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches="3×3 of stride 2 on even sizes without zeros above the image (valid, TensorFlow's SAME), or, depthwise, to "
    "its left",
    becomes="two 3×3 over an image: copies of every other pixel, then the kernel; else the kernel at stride 1 and a "
    "layer that picks every other pixel",
    why="nncase 1.9 pads the map before and after it in float on the CPU",
    source="fake_kpu_conv2d.cpp:36-129 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
