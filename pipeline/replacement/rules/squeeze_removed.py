"""Squeeze-and-excitation → each channel's mean factor, learned: in the next convolution's weights, or a depthwise 1×1.

``y = x·g(mean of x)`` becomes ``y = a·x``, a the factors' mean over calibration images, weighted by the channel's
energy (the least-squares factor). A convolution that alone reads y takes a into its weights: nothing is left of the
gate. Zero padding stays zero under a factor, so that is exact at the border too.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from pipeline.network.modules import Mul
from pipeline.replacement.gates import mean_factors, read_gate
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    gate = read_gate(site)
    if isinstance(gate, Miss):
        return gate
    reader = _reader(site)
    nodes = (*gate.nodes, site.node, *((reader,) if reader is not None else ()))
    where = "kept as a depthwise 1×1" if reader is None else f"folded into {reader.target}"
    return Match(nodes, f"a gate on {gate.channels} channels; its mean {where}")


def _build(site: Site, match: Match) -> Built:
    gate, reader = read_gate(site), _reader(site)
    assert not isinstance(gate, Miss)
    if reader is None:
        return Built(nn.Sequential(blank_pointwise(gate.channels, gate.channels, groups=gate.channels)))
    conv = copy.deepcopy(site.module(reader))
    assert isinstance(conv, nn.Conv2d)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return Built(nn.Sequential(conv))


def _reader(site: Site) -> fx.Node | None:
    """The convolution that alone reads the product."""
    reader = site.after()
    conv = site.module(reader) if reader is not None else None
    return reader if isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" else None


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    gate, reader = read_gate(site), _reader(site)
    assert not isinstance(gate, Miss)
    factors = mean_factors(site, gate, inputs).float()
    (conv,) = chain
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        if reader is None:
            conv.weight.copy_(factors[:, None, None, None])
            return
        old = site.module(reader)
        assert isinstance(old, nn.Conv2d)
        # Row o of a grouped kernel reads the inputs of its own group only.
        read = torch.arange(old.in_channels).view(old.groups, -1).repeat_interleave(old.out_channels // old.groups, 0)
        conv.weight.copy_(old.weight * factors[read][..., None, None])
        if old.bias is not None and conv.bias is not None:
            conv.bias.copy_(old.bias)


RULE = Rule(
    name="squeeze-removed",
    kind="learned",
    concerns=(Mul,),
    matches="squeeze-and-excitation: a map times a factor a channel that is made of the map's means",
    becomes="the factors' means, in the weights of the next convolution or as a depthwise 1×1",
    why="nncase 1.9 runs the gate and the product with 28 % relative error",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
