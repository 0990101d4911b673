"""Dense kernels larger than 3×3, or of stride 4 → a stack of 3×3 convolutions, learned.

The layer replaced is linear, so the stack has no activation between either (the KPU's activation table can be the
identity): it starts from a factorisation of the kernel (``factorise``), is scaled so that its inner maps have unit
variance and then fits the layer's outputs by regression. What follows the layer (BatchNorm, activation) stays.

Measured on a trained network's 5×5, 16→32, stride 1 and 5×5, 32→48, stride 2; error after 300 steps of regression on
outputs of unit variance, unseen images, as many weights as before: BatchNorm and ReLU between, random start 0.055 and
0.069; from identities 0.057 and 0.066; from the factorisation 0.025 and 0.022; linear, from the factorisation 0.0026
and 0.0115.

A stride is done by the first convolutions. The KPU runs a stride-2 convolution at full resolution and keeps every other
pixel, so a stride first makes all later layers four times cheaper in cycles and memory, and the stack's reach grows
twice as fast: 7×7 with stride 2 takes two layers, not three. It costs little: 0.0135 against 0.0107 with the stride
last (5×5, 32→48, without ridge).

Any padding will do, even and oblong kernels too: the kernel is laid where its taps are within the stack's reach
(``reach``). Outputs that it does not give are cropped, behind BatchNorm and activation so that these still fuse.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, fx, nn

from pipeline.kpu import limits
from pipeline.replacement.convolution import blank_conv, describe, folded_after, pair
from pipeline.replacement.factorise import factorise
from pipeline.replacement.maps import value_shape
from pipeline.replacement.padding import Zeros, zeros_around
from pipeline.replacement.reach import Kernel, Stack, reach, stack_for
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.sources import run

_LARGEST = 11
_WEIGHTS = 0.5
"""Weights of the stack over weights of the kernel replaced: half of them costs 0.02 of relative error more, and
nothing once distilled (accuracy 88.3 % with half of them and with all, 87.6 % before, 5,000 images of
Fashion-MNIST)."""
_LEAST_VARIANCE = 1e-8


def _match(site: Site) -> Match | Miss:
    conv, form = site.module(), _form(site)
    assert isinstance(conv, nn.Conv2d)
    if isinstance(form, Miss):
        return form
    zeros, stack = form
    before = () if zeros.layer is None else (zeros.layer,)
    return Match((*before, site.node, *_fused(site, stack)), describe(conv))


def _build(site: Site, match: Match) -> Built:
    conv, form = site.module(), _form(site)
    assert isinstance(conv, nn.Conv2d)
    assert not isinstance(form, Miss)
    _, stack = form
    layers = len(stack.strides)
    width = _width(conv, layers)
    chain = nn.Sequential()
    for index, stride in enumerate(stack.strides):
        inputs = conv.in_channels if index == 0 else width
        outputs = conv.out_channels if index == layers - 1 else width
        # The last one always has a bias: it takes up what the stack's mean is off.
        layer = blank_conv(inputs, outputs, bias=index == layers - 1, stride=stride)
        chain.add_module(f"part{index + 1}", layer)
    for node in _fused(site, stack):
        name = str(node.target)
        chain.add_module(name.replace(".", "_"), copy.deepcopy(site.network.get_submodule(name)))
    crop = stack.crop()
    if crop is not None:
        chain.add_module("crop", crop)
    return Built(chain)


def _fused(site: Site, stack: Stack) -> list[fx.Node]:
    """Return the layers that a crop has to come behind."""
    return folded_after(site) if stack.crop() is not None else []


def _form(site: Site) -> tuple[Zeros, Stack] | Miss:
    """Return the zeros around the convolution, and the stack that takes its place."""
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    kernel, strides = pair(conv.kernel_size), pair(conv.stride)
    if conv.groups != 1:
        return Miss("grouped or depthwise, not dense")
    if pair(conv.dilation) != (1, 1):
        return Miss("dilated")
    if max(kernel) <= 3 and strides != (4, 4):
        return Miss(f"{kernel[0]}×{kernel[1]} is no larger than the KPU's kernels")
    if max(kernel) > _LARGEST:
        return Miss(f"{kernel[0]}×{kernel[1]} is larger than {_LARGEST}×{_LARGEST}")
    zeros = zeros_around(site)
    if isinstance(zeros, Miss):
        return zeros
    shape = value_shape(site, zeros.reads(site.node)) or (None, None, None)
    rows, columns = (Kernel(*axis) for axis in zip(kernel, strides, zeros.begin, zeros.end, shape[-2:], strict=True))
    stack = stack_for(rows, columns)
    return stack if isinstance(stack, Miss) else (zeros, stack)


def _width(conv: nn.Conv2d, layers: int) -> int:
    """The inner channels w with 9·(I·w + (layers − 2)·w² + w·O) = _WEIGHTS times the weights of ``conv``, I→O.

    Kernels of few taps (4×1) would get fewer than their channels can pass through: at least half of these.
    """
    budget = _WEIGHTS * conv.weight.numel() / 9
    ends, inner = conv.in_channels + conv.out_channels, layers - 2
    width = budget / ends if inner == 0 else (math.sqrt(ends**2 + 4 * inner * budget) - ends) / (2 * inner)
    least = math.ceil(min(conv.in_channels, conv.out_channels) / 2)
    return max(least, min(round(width), limits.MAX_CHANNELS))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv, form = site.module(), _form(site)
    assert isinstance(conv, nn.Conv2d)
    assert not isinstance(form, Miss)
    zeros, stack = form
    crop = stack.crop()
    if crop is not None:  # the match ends behind the convolution
        pad = nn.Identity() if zeros.layer is None else site.network.get_submodule(str(zeros.layer.target))
        outputs = run(nn.Sequential(pad, conv), inputs)
    parts = [part for part in chain if isinstance(part, nn.Conv2d)]
    spread = outputs.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).sqrt().view(-1, 1, 1, 1)
    rest = _laid(conv.weight.detach() / spread, stack)
    with torch.no_grad():
        for index, part in enumerate(parts[:-1]):
            first, rest = factorise(rest, part.out_channels, pair(part.stride)[0], seed + index)
            part.weight.copy_(first)
            inputs = part(inputs)
            scale = inputs.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).rsqrt().view(-1, 1, 1, 1)
            part.weight.mul_(scale)
            inputs = inputs * scale.view(1, -1, 1, 1)
            rest = rest / scale.view(1, -1, 1, 1)
        last = parts[-1]
        assert last.bias is not None
        last.weight.copy_(rest * spread)
        given = last(inputs) if crop is None else crop(last(inputs))
        last.bias.copy_((outputs - given).mean((0, 2, 3)))


def _laid(kernel: Tensor, stack: Stack) -> Tensor:
    """Return a kernel (O×C×h×w) among the zeros of all the taps that a stack has."""
    taps = 2 * reach(stack.strides) + 1
    (row, column), (height, width) = stack.first, kernel.shape[2:]
    laid = kernel.new_zeros(*kernel.shape[:2], taps, taps)
    laid[:, :, row : row + height, column : column + width] = kernel
    return laid


RULE = Rule(
    name="large-kernel",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"dense kernels larger than 3×3, up to {_LARGEST}×{_LARGEST}, of stride 1, 2 or 4, and smaller ones of "
    "stride 4; any padding",
    becomes="a stack of 3×3 convolutions that reaches as far, the strides first",
    why="nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU",
    source="kpu_utils.h:36 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
