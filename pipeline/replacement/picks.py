"""Convolutions that copy: every channel as it is, or its pixels moved by one."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.replacement.convolution import blank_conv
from pipeline.replacement.pointwise import blank_pointwise


def copying(channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a dense 1×1 that gives what it reads; with a stride, every so many pixels of it."""
    made = blank_pointwise(channels, channels)
    made.bias = None
    made.stride = (stride, stride)
    with torch.no_grad():
        made.weight.copy_(torch.eye(channels)[..., None, None])
    return made


def picking(channels: int, taps: tuple[int, int], *, depthwise: bool) -> nn.Conv2d:
    """Return a 3×3 of stride 2 and padding 1 that gives the pixels under one of its taps (0, 1 or 2 an axis)."""
    made = blank_conv(channels, channels, bias=False, stride=2, groups=channels if depthwise else 1)
    kernels = torch.ones(channels, 1) if depthwise else torch.eye(channels)
    with torch.no_grad():
        made.weight[:, :, taps[0], taps[1]] = kernels
    return made
