"""Depthwise 4×4 … 11×11 → a 1×1, a stack of depthwise 3×3 over several copies of each channel, a 1×1, learned.

A channel's kernel becomes a sum of products of 3×3 kernels, each of a copy (``depthwise_stack``); the 1×1s that copy
and sum start as that, and regression lets them mix channels too. They take 2·J·C² bytes for J copies of C channels, so
this is for where ``large_depthwise`` is too far off.

Measured on the trained zoo's `mobile-large`, error on unseen images after 300 steps of regression from random weights;
from factors before regression; after it: 5×5 s2, 16 channels: 0.093; 0.0023; 0.0002. 7×7, 32: 0.228; 0.121; 0.038.
9×9, 40: 0.360; 0.230; 0.091. 5×5 s2, 64: 0.198; 0.010; 0.0019.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.replacement.depthwise_stack import LARGEST, build_depthwise, initialise_depthwise, match_depthwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_BRANCHES = 3
"""With two the 7×7 and 9×9 above are left with twice the error (0.087, 0.188; a simpler start)."""


def _match(site: Site) -> Match | Miss:
    return match_depthwise(site, _BRANCHES)


def _build(site: Site, match: Match) -> Built:
    return build_depthwise(site, _BRANCHES)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    initialise_depthwise(site, chain, inputs, outputs, _BRANCHES, seed)


RULE = Rule(
    name="large-depthwise-mixed",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"depthwise kernels up to {LARGEST}×{LARGEST}, dilated or not, that keep their map's size or halve it",
    becomes=f"a 1×1 that copies each channel {_BRANCHES} times, depthwise 3×3, a 1×1 that sums and has the stride",
    why="nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU",
    source="kpu_utils.h:36 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
