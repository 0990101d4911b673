"""Stride 3, (2, 1), (1, 2) … → the next coarser stride that the KPU has, learned. See ``other_stride``."""

from __future__ import annotations

from torch import nn

from pipeline.replacement.other_stride import build_stride, coarser, keep_weights, match_stride
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    return match_stride(site, coarser)


def _build(site: Site, match: Match) -> Built:
    return build_stride(site, match, coarser)


RULE = Rule(
    name="stride-coarser",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches="a convolution of stride 3 or of unequal strides, behind which any map size will do",
    becomes="stride 4 in place of 3, 2 in place of (2, 1): a smaller map",
    why="nncase 1.9 computes every pixel and picks those wanted on the CPU, out of the whole map in main memory",
    source="fake_kpu_conv2d.cpp:141-209 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=keep_weights,
    resamples=True,
)
