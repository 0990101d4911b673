"""Identity, Dropout → nothing. In evaluation both give what they read; nncase knows neither."""

from __future__ import annotations

from torch import nn

from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    return Match((site.node,), type(site.module()).__name__)


def _build(site: Site, match: Match) -> Built:
    return Built(nn.Sequential())


RULE = Rule(
    name="drop-identity",
    kind="exact",
    concerns=(nn.Identity, nn.Dropout, nn.Dropout2d),
    matches="Identity and Dropout",
    becomes="nothing",
    why="they do nothing in evaluation, but stand between a convolution and the activation to be fused into it",
    source="ONNX operators Identity and Dropout (ratio unused where training_mode is false)",
    match=_match,
    build=_build,
)
