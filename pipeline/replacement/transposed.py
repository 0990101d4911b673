"""Transposed 4×4 and 5×5 of stride 2: what two rules have in common.

A transposed convolution of stride 2 is a convolution of its input spread out with zeros between. nncase 1.9 runs a 3×3
with padding 1 and output padding 1 as such on the KPU (the CPU spreads the map); what has more taps is a 3×3 of this
kind, then a plain 3×3 on the larger map. Over the spread map u, with v[k] reaching ``y[2i + k − padding]``:

    y[p] = Σ_t kernel[t]·u[p + t],  kernel[t] = v[padding − t],  t from −2 to 2 at most

The second 3×3 has one more use: nncase 1.9 forgets a Clip directly behind a transposed convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.kpu import limits
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.replacement.convolution import blank_conv, pair
from pipeline.replacement.maps import value_shape
from pipeline.replacement.rule import Miss, Site

REACH = 2
"""Of two 3×3, one behind the other."""
WHY = "nncase 1.9 compiles no transposed convolution but 3×3; that is a convolution of the KPU behind a Pad of the CPU"
SOURCE = "conv2d_transpose_transform.cpp of nncase v1.9.0; measured with nncase 1.9.0.20230322"


def read_transposed(site: Site) -> nn.ConvTranspose2d | Miss:
    """Return the site's transposed convolution if two 3×3 reach as far: one that doubles its map's sides."""
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    kernel, stride, padding = pair(conv.kernel_size), pair(conv.stride), conv.padding
    if isinstance(padding, str) or kernel[0] != kernel[1] or pair(padding)[0] != pair(padding)[1]:
        return Miss("its axes differ")
    if stride != (2, 2) or pair(conv.dilation) != (1, 1):
        return Miss("stride is not 2" if stride != (2, 2) else "dilated")
    if kernel[0] <= 3:
        return Miss(f"{kernel[0]}×{kernel[1]} is no larger than the 3×3 that nncase compiles")
    if any(
        k + more != 2 * pad + 2 for k, more, pad in zip(kernel, pair(conv.output_padding), pair(padding), strict=True)
    ):
        return Miss("its output is not twice the size of its input")
    if max(pair(padding)[0], kernel[0] - 1 - pair(padding)[0]) > REACH:
        return Miss(f"{kernel[0]}×{kernel[1]} reaches further than two 3×3")
    if conv.groups != 1 and not is_depthwise(conv):
        return Miss("grouped, neither dense nor depthwise")
    return conv


def is_depthwise(conv: nn.ConvTranspose2d) -> bool:
    """Whether every channel has a kernel of its own."""
    return conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1


def spread_kernel(conv: nn.ConvTranspose2d) -> Tensor:
    """Return the kernel over the spread map, outputs × inputs of a group × 5 × 5."""
    taps, padding = pair(conv.kernel_size)[0], pair(conv.padding)[0]  # type: ignore[arg-type]
    weight = conv.weight.detach().flip(2, 3)
    swapped = weight if is_depthwise(conv) else weight.transpose(0, 1)
    before = REACH + padding - (taps - 1)
    behind = 2 * REACH + 1 - before - taps
    return nn.functional.pad(swapped, (before, behind, before, behind))


def spread(inputs: Tensor) -> Tensor:
    """Return N×C×2H×2W: the map with zeros behind each pixel of it."""
    images, channels, height, width = inputs.shape
    wide = inputs.new_zeros(images, channels, 2 * height, 2 * width)
    wide[:, :, ::2, ::2] = inputs
    return wide


def blank_pair(conv: nn.ConvTranspose2d, width: int) -> nn.Sequential:
    """Return a transposed 3×3 to ``width`` channels and a 3×3 from them, all weights zero."""
    groups = conv.groups
    up = nn.ConvTranspose2d(conv.in_channels, width, 3, 2, 1, 1, groups, bias=False, device="meta").to_empty(
        device="cpu"
    )
    nn.init.zeros_(up.weight)
    chain = nn.Sequential()
    chain.add_module("up", up)
    chain.add_module("rest", blank_conv(width, conv.out_channels, bias=True, groups=groups))
    return chain


def no_room(site: Site, width: int) -> str:
    """Return why the KPU cannot run the two 3×3 with ``width`` channels between, "" if it can."""
    before = site.before()
    shape = None if before is None else value_shape(site, before)
    if shape is None:
        return "the size of its input is not known here"
    if width > limits.MAX_CHANNELS:
        return f"{width:,} channels between, over {limits.MAX_CHANNELS:,}"
    height, columns = 2 * shape[1] + 2, 2 * shape[2] + 2  # nncase convolves the border that it then crops
    if height > limits.MAX_HEIGHT or columns > limits.MAX_WIDTH or min(shape[1:]) < limits.MIN_SIDE:
        return f"the KPU cannot run a convolution over {height}×{columns} pixels"
    if map_bytes(width, height, columns) + map_bytes(shape[0], height, columns) > limits.KPU_MEMORY_BYTES:
        return f"the KPU's memory does not hold {width} channels of {height}×{columns} pixels"
    return ""


def set_bias(chain: nn.Sequential, inputs: Tensor, outputs: Tensor) -> None:
    """Let the chain give the mean that it is to give in every channel."""
    last = list(chain)[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.bias.zero_()
        last.bias.copy_((outputs - chain(inputs)).mean((0, 2, 3)))
