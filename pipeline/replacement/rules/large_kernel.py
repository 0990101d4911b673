"""Dense 5×5, 7×7, 9×9, 11×11 → a stack of 3×3 convolutions, learned.

The layer replaced is linear, so the stack has no activation between either (the KPU's activation table can be the
identity): it starts from a factorisation of the kernel (``factorise``), is scaled so that its inner maps have unit
variance and then fits the layer's outputs by regression. What follows the layer (BatchNorm, activation) stays.

Measured on a trained network's 5×5, 16→32, stride 1 and 5×5, 32→48, stride 2; error after 300 steps of regression on
outputs of unit variance, unseen images, as many weights as before: BatchNorm and ReLU between, random start 0.055 and
0.069; from identities 0.057 and 0.066; from the factorisation 0.025 and 0.022; linear, from the factorisation 0.0026
and 0.0115.

A stride is done by the first convolution. The KPU runs a stride-2 convolution at full resolution and keeps every other
pixel, so a stride first makes all later layers four times cheaper in cycles and memory, and the stack's reach grows
twice as fast: 7×7 with stride 2 takes two layers, not three. It costs little: 0.0135 against 0.0107 with the stride
last (5×5, 32→48, without ridge).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pipeline.replacement.convolution import blank_conv, describe, not_dense_same, pair
from pipeline.replacement.factorise import factorise, rest_size
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_LARGEST = 11
_MOST_CHANNELS = 1024  # of one KPU layer, kpu_utils.h:26 of nncase v1.9.0
_WEIGHTS = 0.5
"""Weights of the stack over weights of the kernel replaced: half of them costs 0.02 of relative error more, and
nothing once distilled (accuracy 88.3 % with half of them and with all, 87.6 % before, 5,000 images of
Fashion-MNIST)."""
_LEAST_VARIANCE = 1e-8


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    size = pair(conv.kernel_size)[0]
    if pair(conv.kernel_size) in ((1, 1), (3, 3)):
        return Miss(f"{size}×{size} is a kernel of the KPU")
    reason = not_dense_same(conv)
    if reason:
        return Miss(reason)
    if size > _LARGEST:
        return Miss(f"{size}×{size} is larger than {_LARGEST}×{_LARGEST}")
    return Match((site.node,), describe(conv))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    kernel, stride = pair(conv.kernel_size)[0], pair(conv.stride)[0]
    layers = _layers(kernel, stride)
    width = _width(conv.in_channels, conv.out_channels, kernel, layers)
    chain = nn.Sequential()
    for index in range(layers):
        inputs = conv.in_channels if index == 0 else width
        outputs = conv.out_channels if index == layers - 1 else width
        step = stride if index == 0 else 1
        # The last one always has a bias: it takes up what the stack's mean is off.
        layer = blank_conv(inputs, outputs, bias=index == layers - 1, stride=step)
        chain.add_module(f"part{index + 1}", layer)
    return Built(chain)


def _layers(kernel: int, stride: int) -> int:
    """How many 3×3 reach as far as ``kernel``, the first having the stride."""
    layers, size = 1, kernel
    while size > 3 or layers == 1:
        size = rest_size(size, stride if layers == 1 else 1)
        layers += 1
    return layers


def _width(inputs: int, outputs: int, kernel: int, layers: int) -> int:
    """The inner channels w with 9·(inputs·w + (layers − 2)·w² + w·outputs) = _WEIGHTS·kernel²·inputs·outputs."""
    budget = _WEIGHTS * kernel**2 * inputs * outputs / 9
    ends, inner = inputs + outputs, layers - 2
    width = budget / ends if inner == 0 else (math.sqrt(ends**2 + 4 * inner * budget) - ends) / (2 * inner)
    return max(1, min(round(width), _MOST_CHANNELS))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    parts = [part for part in chain if isinstance(part, nn.Conv2d)]
    spread = outputs.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).sqrt().view(-1, 1, 1, 1)
    rest = conv.weight.detach() / spread
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
        last.bias.copy_((outputs - last(inputs)).mean((0, 2, 3)))


RULE = Rule(
    name="large-kernel",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"dense k×k with k odd, 5…{_LARGEST}, stride 1 or 2, padding (k − 1)/2",
    becomes="a stack of 3×3 convolutions that reaches as far, the stride on the first",
    why="nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU",
    source="kpu_utils.h:36 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
