"""Squeeze-and-excitation → a 1×1 convolution on the map, learned.

``y = x·g(mean of x)`` becomes ``y = W·x + b``, the nearest such by least squares over calibration images: each channel
keeps its mean factor, and what its factor owes to the other channels comes from their values at the same pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.network.modules import Mul
from pipeline.replacement.gates import read_gate
from pipeline.replacement.least_squares import fit_pointwise
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    gate = read_gate(site)
    if isinstance(gate, Miss):
        return gate
    if gate.channels > MAX_CHANNELS:
        return Miss(f"{gate.channels:,} channels, more than a layer of the KPU has ({MAX_CHANNELS:,})")
    return Match((*gate.nodes, site.node), f"a gate on {gate.channels} channels; {gate.channels**2:,} weights")


def _build(site: Site, match: Match) -> Built:
    gate = read_gate(site)
    assert not isinstance(gate, Miss)
    return Built(nn.Sequential(blank_pointwise(gate.channels, gate.channels)))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    (conv,) = chain
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    weight, bias = fit_pointwise(inputs, outputs)
    with torch.no_grad():
        conv.weight.copy_(weight[..., None, None])
        conv.bias.copy_(bias)


RULE = Rule(
    name="squeeze-linear",
    kind="learned",
    concerns=(Mul,),
    matches="squeeze-and-excitation: a map times a factor a channel that is made of the map's means",
    becomes="a 1×1 convolution on the map",
    why="nncase 1.9 runs the gate and the product with 28 % relative error",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
