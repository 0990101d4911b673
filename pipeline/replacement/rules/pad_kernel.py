"""1×2, 1×3, 2×1, 2×2, 2×3, 3×1, 3×2 → 3×3, zeros elsewhere.

Along one axis of n pixels, a kernel of k taps, dilation d, stride s and p zeros before the image computes
``y[i] = Σ_t w[t]·x[s·i − p + d·t]``. A 3-tap kernel with padding 1 computes ``Σ_u v[u]·x[s·i − 1 + u]``: the same with
``v[d·t + 1 − p] = w[t]``, wherever that index lies in 0…2. It has ⌊(n − 1)/s⌋ + 1 outputs; if the kernel replaced has
fewer, the surplus is at the end and is cropped (after BatchNorm and activation, so that these still fuse).
An axis of three taps without padding keeps them as they are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import fx, nn

from pipeline.network.modules import Slice
from pipeline.replacement.convolution import blank_conv, copy_bias, describe, folded_after, pair
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


@dataclass(frozen=True)
class _Axis:
    """Where the taps go in the three of the new kernel, its padding, and the outputs to crop at the end."""

    taps: tuple[int, ...]
    padding: int
    crop: int


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    axes = _axes(site, conv)
    if isinstance(axes, Miss):
        return axes
    pad = _pad_before(site)
    nodes = (*((pad,) if pad is not None else ()), site.node)
    if any(axis.crop for axis in axes):
        nodes = (*nodes, *folded_after(site))
    return Match(nodes, describe(conv))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    axes = _axes(site, conv)
    assert not isinstance(axes, Miss)
    rows, columns = axes
    padded = blank_conv(
        conv.in_channels,
        conv.out_channels,
        bias=conv.bias is not None,
        stride=pair(conv.stride),
        groups=conv.groups,
    )
    padded.padding = (rows.padding, columns.padding)
    with torch.no_grad():
        for row, to_row in enumerate(rows.taps):
            for column, to_column in enumerate(columns.taps):
                padded.weight[:, :, to_row, to_column] = conv.weight[:, :, row, column]
    copy_bias(conv, padded)
    chain = nn.Sequential()
    chain.add_module("padded", padded)
    if rows.crop or columns.crop:
        for node in folded_after(site):
            chain.add_module(
                str(node.target).replace(".", "_"), copy.deepcopy(site.network.get_submodule(str(node.target)))
            )
        chain.add_module("crop", Slice(((2, 0, -rows.crop or None, 1), (3, 0, -columns.crop or None, 1))))
    return Built(chain)


def _pad_before(site: Site) -> fx.Node | None:
    """The layer of zeros that only this convolution reads (how pads that differ from side to side are lifted)."""
    pad = site.before()
    if pad is None or len(pad.users) != 1 or type(site.module(pad)) is not nn.ZeroPad2d:
        return None
    return pad


def _axes(site: Site, conv: nn.Conv2d) -> tuple[_Axis, _Axis] | Miss:
    """How rows and columns of the kernel go into the new one."""
    kernel, stride, dilation = pair(conv.kernel_size), pair(conv.stride), pair(conv.dilation)
    extents = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    pad_node = _pad_before(site)
    if kernel in ((1, 1), (3, 3)) and pad_node is None:
        return Miss(f"{kernel[0]}×{kernel[1]} is a kernel of the KPU")
    if max(extents) > 3 or kernel == (1, 1):
        return Miss(f"{kernel[0]}×{kernel[1]} does not fit into 3×3" if max(extents) > 3 else "a padded 1×1")
    if stride not in ((1, 1), (2, 2)):
        return Miss(f"stride {stride[0]}×{stride[1]}; the KPU has 1 and 2, the same on both axes")
    if conv.groups not in (1, conv.in_channels) or (conv.groups > 1 and conv.in_channels != conv.out_channels):
        return Miss("grouped, but not depthwise: 3×3 would not make it run on the KPU")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return Miss(f"padded by {conv.padding_mode if conv.padding_mode != 'zeros' else conv.padding}, not by zeros")
    left = right = top = bottom = 0
    if pad_node is not None:
        pad = site.module(pad_node)
        assert isinstance(pad, nn.ZeroPad2d)
        left, right, top, bottom = (int(side) for side in pad.padding)
    own = pair(conv.padding)
    source = pad_node or site.node
    found = []
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        ends = (own[axis] + before, own[axis] + after)
        answer = _axis(site, source, axis, kernel[axis], dilation[axis], stride[axis], ends)
        if isinstance(answer, Miss):
            return answer
        found.append(answer)
    return found[0], found[1]


def _axis(
    site: Site, source: fx.Node, axis: int, kernel: int, dilation: int, stride: int, ends: tuple[int, int]
) -> _Axis | Miss:
    """How one axis' taps go into three; ``ends`` are the zeros before and after the image."""
    before, after = ends
    extent = dilation * (kernel - 1) + 1
    if extent == 3 and before == after == 0:
        return _Axis(tuple(dilation * tap for tap in range(kernel)), 0, 0)
    taps = tuple(dilation * tap + 1 - before for tap in range(kernel))
    if min(taps) < 0 or max(taps) > 2 or after < 0:
        return Miss(f"{before} and {after} zeros around {kernel} taps cannot be shifted into a padding of 1")
    surpluses = {(n - 1) // stride - (n + before + after - extent) // stride for n in (16, 17)}
    if len(surpluses) > 1:  # it depends on whether the image's size is odd
        read = source.all_input_nodes[0]
        size = site.size(read)
        if size is None:
            return Miss("whether it is exact depends on the size of its input, which is not known here")
        surpluses = {(size[axis] - 1) // stride - (size[axis] + before + after - extent) // stride}
    (surplus,) = surpluses
    if surplus < 0:
        return Miss(f"{before} and {after} zeros around {kernel} taps give more outputs than a padding of 1")
    return _Axis(taps, 1, surplus)


RULE = Rule(
    name="pad-kernel",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches="kernels smaller than 3×3 other than 1×1 (1×3, 3×1, 2×2, …; dilated ones that span at most 3), dense or "
    "depthwise, stride 1 or 2",
    becomes="a 3×3 kernel with zeros elsewhere, its padding shifted; surplus outputs cropped",
    why="nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU",
    source="kpu_utils.h:36 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
