"""Activations that bend once (ReLU, LeakyReLU) in the place of smooth ones: the line before them that comes nearest."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, fx, nn

from pipeline.replacement.affine import fold_behind
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.pools import shape_of
from pipeline.replacement.rule import Built, Match, Miss, Site
from pipeline.replacement.sources import run, set_conv, source_of

_MOST_PIXELS = 2**12
_SLOPES = (1.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2)
_SHIFTS = (0.0, -1.0, -0.5, -0.35, -0.2, -0.1, 0.1, 0.2, 0.35, 0.5)
"""In units of the activation's input: smooth activations differ from a bend within a few units of zero."""


def match_bend(site: Site) -> Match | Miss:
    """Return the site's activation, with the convolution and BatchNorm before it where it alone reads them."""
    given = site.before()
    assert given is not None
    what = type(site.module()).__name__
    source = source_of(site, given)
    if source is not None:
        return Match((*source.nodes, site.node), f"{what} behind {source.nodes[0].target}")
    if shape_of(site, given) is None:
        return Miss("the size of its map is not known")
    return Match((site.node,), f"{what} behind {given.target}")


def build_bend(site: Site, activation: nn.Module, clamp: nn.Hardtanh | None = None) -> Built:
    """Return the convolution before, else a depthwise 1×1, and ``activation`` behind it, its input clamped or not."""
    given = site.before()
    assert given is not None
    source = source_of(site, given)
    chain = nn.Sequential()
    if source is not None:
        chain.add_module("conv", source.blank())
    else:
        channels = _channels(site, given)
        chain.add_module("line", blank_pointwise(channels, channels, groups=channels))
    if clamp is not None:
        chain.add_module("clamp", clamp)
    chain.add_module("act", activation)
    return Built(chain)


def initialise_bend(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    """Give the chain's convolution, a channel, the ``a·z + c`` with ``act(a·z + c)`` nearest to ``outputs``.

    z is what the replaced activation reads; a and c are the best of a grid.
    """
    conv, act = chain[0], chain[1:]
    given = site.before()
    assert isinstance(conv, nn.Conv2d)
    assert given is not None
    source = source_of(site, given)
    if source is None:
        slope, shift = _nearest(inputs, outputs, act)
        assert conv.bias is not None
        with torch.no_grad():
            conv.weight.copy_(slope[:, None, None, None])
            conv.bias.copy_(shift)
        return
    whole = source.folded(site)
    set_conv(conv, fold_behind(whole, *_nearest(run(whole, inputs), outputs, act)))


def _channels(site: Site, node: fx.Node) -> int:
    shape = shape_of(site, node)
    assert shape is not None
    return shape[0]


def _nearest(read: Tensor, wanted: Tensor, act: nn.Module) -> tuple[Tensor, Tensor]:
    x, y = read.transpose(0, 1).flatten(1), wanted.transpose(0, 1).flatten(1)
    every = max(1, x.shape[1] // _MOST_PIXELS)
    x, y = x[:, ::every], y[:, ::every]
    grid = list(itertools.product(_SLOPES, _SHIFTS))
    with torch.no_grad():
        errors = torch.stack([(act(slope * x + shift) - y).square().mean(1) for slope, shift in grid])
    best = torch.tensor(grid, dtype=torch.float64)[errors.argmin(0)]
    return best[:, 0], best[:, 1]
