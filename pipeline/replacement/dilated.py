"""Dense dilated 3×3: what the rules ask of them, and their exact form for the KPU.

With dilation d the nine taps lie d pixels apart. A depthwise 3×3 moves each channel by one pixel, so a 1×1 that
copies each channel nine times, d depthwise 3×3 that move the copies to the taps, and a 1×1 with the kernel's own
weights compute the same. That also holds at the border: what a copy has moved in from outside is zero, as the padding
is. The nine copies cost, the taps themselves do not: 9·C² + 81·d·C + 9·C·O weights for 9·C·O.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.kpu import limits
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.replacement.convolution import blank_conv, pair
from pipeline.replacement.maps import value_shape
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Miss, Site

COPIES = 9
WHY = "nncase 1.9 cuts the map in pieces on the CPU for a dilated convolution; with a stride it is all the CPU's"
LARGEST = 4
"""Dilation: the reach of nine pixels."""


def read_dilated(site: Site) -> nn.Conv2d | Miss:
    """Return the site's convolution if it is a dense dilated 3×3 that keeps its map's size, or halves it."""
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    dilation, stride = pair(conv.dilation), pair(conv.stride)
    if dilation == (1, 1):
        return Miss("not dilated")
    if conv.groups != 1 or pair(conv.kernel_size) != (3, 3):
        return Miss("not a dense 3×3")
    if dilation[0] != dilation[1] or not 1 < dilation[0] <= LARGEST:
        return Miss(f"dilation {dilation[0]}×{dilation[1]}, not 2 to {LARGEST} on both axes")
    if stride not in ((1, 1), (2, 2)):
        return Miss("stride is neither 1 nor 2")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str) or pair(conv.padding) != dilation:
        return Miss(f"padding is not {dilation[0]} zeros on every side")
    if stride == (2, 2):
        before = site.before()
        shape = None if before is None else value_shape(site, before)
        if shape is None:
            return Miss("the size of its input is not known here")
        if any(side % 2 or side < 2 * limits.MIN_SIDE for side in shape[1:]):
            least = 2 * limits.MIN_SIDE
            return Miss(f"the KPU does not halve {shape[1]}×{shape[2]} pixels, but even sizes from {least} on")
    return conv


def no_room_for_copies(site: Site, conv: nn.Conv2d) -> str:
    """Return why the KPU cannot run the exact form of a dilated convolution, "" if it can."""
    before = site.before()
    shape = None if before is None else value_shape(site, before)
    if shape is None:
        return "the size of its input is not known here"
    wide = COPIES * conv.in_channels
    if wide > limits.MAX_CHANNELS:
        return f"{wide:,} channels of copies, over {limits.MAX_CHANNELS:,}"
    if 2 * map_bytes(wide, shape[1], shape[2]) > limits.KPU_MEMORY_BYTES:
        return f"the KPU's memory does not hold {wide} copies of {shape[1]}×{shape[2]} pixels twice"
    return ""


def blank_copies(conv: nn.Conv2d) -> nn.Sequential:
    """Return the exact form of a dilated convolution, all weights zero."""
    wide = COPIES * conv.in_channels
    copies = blank_pointwise(conv.in_channels, wide)
    copies.bias = None
    chain = nn.Sequential()
    chain.add_module("copies", copies)
    for index in range(pair(conv.dilation)[0]):
        chain.add_module(f"move{index + 1}", blank_conv(wide, wide, bias=False, groups=wide))
    taps = blank_pointwise(wide, conv.out_channels)
    taps.stride = pair(conv.stride)
    chain.add_module("taps", taps)
    return chain


def set_copies(conv: nn.Conv2d, chain: nn.Sequential) -> None:
    """Give the chain of `blank_copies` the weights with which it equals the convolution."""
    layers = [layer for layer in chain if isinstance(layer, nn.Conv2d)]
    copies, moves, taps = layers[0], layers[1:-1], layers[-1]
    assert taps.bias is not None
    with torch.no_grad():
        copies.weight.copy_(torch.eye(conv.in_channels).repeat_interleave(COPIES, 0)[..., None, None])
        for move in moves:  # copy number t of a channel takes the pixel under tap t
            move.weight.copy_(torch.eye(COPIES).view(COPIES, 1, 3, 3).repeat(conv.in_channels, 1, 1, 1))
        taps.weight.copy_(conv.weight.reshape(conv.out_channels, -1, 1, 1))
        taps.bias.zero_()
        if conv.bias is not None:
            taps.bias.copy_(conv.bias)
