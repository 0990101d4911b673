"""A transposed 4×4 or 5×5 of stride 2 → a transposed 3×3 of stride 2 and a 3×3, learned.

Dense ones start from factors of the kernel (``factorise``), depthwise ones from factors of each channel's
(``depthwise_factors``): bilinear enlarging, [1, 3, 3, 1] an axis, has exact ones.

Measured on the trained zoo's `hourglass`, a 4×4, 48→16: error on unseen images after 300 steps of regression from
random weights; from factors before regression; after it, by the stack's weights over the kernel's: 1: 0.068; 0.089;
0.031. 1.5: 0.031; 0.038; 0.0067. 2: 0.017; 0.023; 0.0020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.replacement.convolution import pair
from pipeline.replacement.depthwise_factors import correlations, factorise_channels, solve_last
from pipeline.replacement.factorise import factorise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.transposed import (
    SOURCE,
    WHY,
    blank_pair,
    is_depthwise,
    no_room,
    read_transposed,
    set_bias,
    spread,
    spread_kernel,
)

_WEIGHTS = 1.5
"""Of both 3×3 over those of the kernel."""
_LEAST_VARIANCE = 1e-8


def _match(site: Site) -> Match | Miss:
    conv = read_transposed(site)
    if isinstance(conv, Miss):
        return conv
    reason = no_room(site, _width(conv))
    taps = pair(conv.kernel_size)[0]
    what = ", depthwise" if is_depthwise(conv) else ""
    return (
        Miss(reason) if reason else Match((site.node,), f"{taps}×{taps}, {conv.in_channels}→{conv.out_channels}{what}")
    )


def _width(conv: nn.ConvTranspose2d) -> int:
    """The inner channels w with 9·w·(inputs + outputs) = _WEIGHTS·taps²·inputs·outputs."""
    if is_depthwise(conv):
        return conv.in_channels
    budget = _WEIGHTS * pair(conv.kernel_size)[0] ** 2 * conv.in_channels * conv.out_channels
    return max(1, round(budget / 9 / (conv.in_channels + conv.out_channels)))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    return Built(blank_pair(conv, _width(conv)))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    up, rest = chain
    assert isinstance(up, nn.ConvTranspose2d)
    assert isinstance(rest, nn.Conv2d)
    kernel, each = spread_kernel(conv), (-1, 1, 1, 1)
    with torch.no_grad():
        if is_depthwise(conv):
            together = correlations(spread(inputs), kernel.shape[-1])
            first, _ = factorise_channels(kernel[:, 0], together, 1, seed)
            up.weight.copy_(first.flip(2, 3))
            up.weight.mul_(_scale(up(inputs)).view(each))
            rest.weight.copy_(solve_last(up(inputs), outputs, 1, 1))
        else:
            deviation = outputs.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).sqrt().view(each)
            first, second = factorise(kernel / deviation, up.out_channels, 1, seed)
            up.weight.copy_(first.flip(2, 3).transpose(0, 1))
            scale = _scale(up(inputs))
            up.weight.mul_(scale.view(1, -1, 1, 1))
            rest.weight.copy_(second * deviation / scale.view(1, -1, 1, 1))
    set_bias(chain, inputs, outputs)


def _scale(values: Tensor) -> Tensor:
    """What gives each channel unit variance, which suits regression and the range that a map's channels share."""
    return values.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).rsqrt()


RULE = Rule(
    name="transposed-stack",
    kind="learned",
    concerns=(nn.ConvTranspose2d,),
    matches="dense and depthwise transposed 4×4 and 5×5 of stride 2 that double their map's sides",
    becomes="a transposed 3×3 of stride 2 and a 3×3",
    why=WHY,
    source=SOURCE,
    match=_match,
    build=_build,
    initialise=_initialise,
)
