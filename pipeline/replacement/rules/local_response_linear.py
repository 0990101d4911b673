"""LocalResponseNorm → a 1×1 convolution, learned: the nearest linear function of all channels at a pixel.

Other than one factor a channel it has the neighbours push a value down, as the norm does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.replacement.least_squares import fit_pointwise
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.pools import shape_of
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    given = site.before()
    assert given is not None
    shape = shape_of(site, given)
    if shape is None:
        return Miss("the size of its map is not known")
    if shape[0] > MAX_CHANNELS:
        return Miss(f"{shape[0]:,} channels, more than a layer of the KPU has ({MAX_CHANNELS:,})")
    return Match((site.node,), f"{shape[0]} channels; {shape[0] ** 2:,} weights")


def _build(site: Site, match: Match) -> Built:
    given = site.before()
    assert given is not None
    shape = shape_of(site, given)
    assert shape is not None
    return Built(nn.Sequential(blank_pointwise(shape[0], shape[0])))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    (conv,) = chain
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    weight, bias = fit_pointwise(inputs, outputs)
    with torch.no_grad():
        conv.weight.copy_(weight[..., None, None])
        conv.bias.copy_(bias)


RULE = Rule(
    name="local-response-linear",
    kind="learned",
    concerns=(nn.LocalResponseNorm,),
    matches="LocalResponseNorm (LRN)",
    becomes="a 1×1 convolution",
    why="the KPU divides nothing by sums over channels: the layer runs in float32 on the CPU, or does not compile",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
