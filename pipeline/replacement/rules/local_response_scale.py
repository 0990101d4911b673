"""LocalResponseNorm → factor and summand a channel, learned, in the convolution before or after it.

``y = x / (k + α/n·Σx²)^β`` keeps signs, so its nearest ``a·x`` (least squares: a = Σxy / Σx²) has a ≥ 0. Such a factor
passes ReLU and LeakyReLU: it goes into the convolution before, with a summand where that comes nearer, and nothing is
left of the layer; else both go into the convolution that alone reads it; else they stay as a depthwise 1×1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.replacement.affine import fold_before, fold_behind
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.pools import shape_of
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.sources import Source, run, set_conv, source_of

_HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU)


@dataclass(frozen=True)
class _Place:
    """Where the factors go: a convolution before (with its activation between), or behind; else a layer of its own."""

    before: Source | None = None
    activation: fx.Node | None = None
    behind: fx.Node | None = None


def _place(site: Site) -> _Place:
    given = site.before()
    assert given is not None
    activation = given if isinstance(site.module(given), _HOMOGENEOUS) and len(given.users) == 1 else None
    source = source_of(site, given if activation is None else activation.all_input_nodes[0])
    if source is not None:
        return _Place(source, activation)
    reader = site.after()
    conv = site.module(reader) if reader is not None else None
    return _Place(behind=reader if isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" else None)


def _match(site: Site) -> Match | Miss:
    given = site.before()
    assert given is not None
    shape = shape_of(site, given)
    if shape is None:
        return Miss("the size of its map is not known")
    place = _place(site)
    if place.before is not None:
        middle = (place.activation,) if place.activation is not None else ()
        nodes = place.before.nodes
        return Match((*nodes, *middle, site.node), f"{shape[0]} channels, behind {nodes[0].target}")
    if place.behind is not None:
        return Match((site.node, place.behind), f"{shape[0]} channels, before {place.behind.target}")
    return Match((site.node,), f"{shape[0]} channels, no convolution beside it")


def _build(site: Site, match: Match) -> Built:
    place, chain = _place(site), nn.Sequential()
    if place.before is not None:
        chain.add_module("conv", place.before.blank())
        if place.activation is not None:
            activation = copy.deepcopy(site.module(place.activation))
            assert activation is not None
            chain.add_module("act", activation)
    elif place.behind is not None:
        conv = site.module(place.behind)
        assert isinstance(conv, nn.Conv2d)
        chain.add_module("conv", Source((place.behind,), conv).blank())
    else:
        given = site.before()
        assert given is not None
        shape = shape_of(site, given)
        assert shape is not None
        chain.add_module("scale", blank_pointwise(shape[0], shape[0], groups=shape[0]))
    return Built(chain)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    place, conv, norm = _place(site), chain[0], site.module()
    assert isinstance(conv, nn.Conv2d)
    assert norm is not None
    if place.before is not None:
        whole, rest = place.before.folded(site), list(chain)[1:]
        lines = _lines(run(nn.Sequential(whole, *rest), inputs), outputs)
        made = [fold_behind(whole, *line) for line in lines]
        errors = [float((run(nn.Sequential(each, *rest), inputs) - outputs).square().mean()) for each in made]
        set_conv(conv, made[0] if errors[0] <= errors[1] else made[1])
        return
    _, (factors, summands) = _lines(inputs, run(norm, inputs))
    if place.behind is not None:
        reader = site.module(place.behind)
        assert isinstance(reader, nn.Conv2d)
        set_conv(conv, fold_before(reader, factors, summands))
    else:
        assert conv.bias is not None
        with torch.no_grad():
            conv.weight.copy_(factors[:, None, None, None])
            conv.bias.copy_(summands)


def _lines(read: Tensor, wanted: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The factor a channel that brings ``read`` nearest to ``wanted``, and factor and summand that do."""
    x, y = read.double().transpose(0, 1).flatten(1), wanted.double().transpose(0, 1).flatten(1)
    least = torch.finfo(torch.float64).tiny
    factor = torch.where(x.square().sum(1) > 0, (x * y).sum(1) / x.square().sum(1).clamp_min(least), 1.0)
    spread = (x - x.mean(1, keepdim=True)).square().sum(1)
    slope = ((x - x.mean(1, keepdim=True)) * y).sum(1) / spread.clamp_min(least)
    slope = torch.where(spread > 0, slope, factor)
    return (factor, torch.zeros_like(factor)), (slope, y.mean(1) - slope * x.mean(1))


RULE = Rule(
    name="local-response-scale",
    kind="learned",
    concerns=(nn.LocalResponseNorm,),
    matches="LocalResponseNorm (LRN)",
    becomes="factor and summand a channel, in the convolution before it or behind it, else a depthwise 1×1",
    why="the KPU divides nothing by sums over channels: the layer runs in float32 on the CPU, or does not compile",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
