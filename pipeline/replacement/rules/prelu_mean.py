"""PReLU with a slope a channel → LeakyReLU with the mean slope, learned, behind the convolution fitted anew."""

from __future__ import annotations

from torch import nn

from pipeline.replacement.bends import build_bend, initialise_bend, match_bend
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    prelu = site.module()
    assert isinstance(prelu, nn.PReLU)
    if prelu.num_parameters == 1:
        return Miss("nncase 1.9 folds a single slope into the KPU's activation table")
    match = match_bend(site)
    if isinstance(match, Miss):
        return match
    slopes = prelu.weight.detach()
    return Match(match.nodes, f"{match.found}, slopes {float(slopes.min()):.2f}…{float(slopes.max()):.2f}")


def _build(site: Site, match: Match) -> Built:
    prelu = site.module()
    assert isinstance(prelu, nn.PReLU)
    slope = min(max(float(prelu.weight.detach().mean()), 0.0), 1.0)
    return build_bend(site, nn.ReLU() if slope == 0 else nn.LeakyReLU(slope))


RULE = Rule(
    name="prelu-mean",
    kind="learned",
    concerns=(nn.PReLU,),
    matches="PReLU with a slope a channel, with the convolution and BatchNorm before it",
    becomes="that convolution, scaled and shifted a channel, and a LeakyReLU of the mean slope",
    why="the KPU has one activation table a layer: nncase 1.9 runs the convolution twice and the products on the CPU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=initialise_bend,
)
