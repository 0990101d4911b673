"""SiLU, hard-swish, Mish in a branch → a clamp and LeakyReLU, learned, behind the convolution fitted anew.

Falling from the identity by a slope of 0.3 to a floor at −0.3, it follows these functions to their dips, and is still
the identity above 0, so that `residual_carry` can take the other branch through it. Mean square error over the variance
of the function, the channels' mean, in the blocks of the zoo's `swish`, each with its best line:

| block, activation | 1, first | 1, second | 2, first | 2, second |
|---|---|---|---|---|
| LeakyReLU 0.1 | 0.033 | 0.021 | 0.026 | 0.034 |
| LeakyReLU 0.2 | 0.025 | 0.038 | 0.016 | 0.043 |
| clamp at −1, LeakyReLU 0.3 | 0.013 | 0.008 | 0.007 | 0.011 |
"""

from __future__ import annotations

import math

from torch import nn

from pipeline.replacement.bends import build_bend, initialise_bend, match_bend
from pipeline.replacement.dips import DIPS, clamped_at_dip, in_branch
from pipeline.replacement.rule import Match, Miss, Rule, Site

_FLOOR = -1.0
_SLOPE = 0.3


def _match(site: Site) -> Match | Miss:
    if clamped_at_dip(site):
        return Miss("clamped at its least value")
    if not in_branch(site):
        return Miss("in no branch: nothing is to be carried through it")
    return match_bend(site)


RULE = Rule(
    name="clamped-activation",
    kind="learned",
    concerns=tuple(DIPS),
    matches="SiLU, hard-swish and Mish in a branch, with the convolution and BatchNorm before them",
    becomes="that convolution, scaled and shifted a channel, a clamp and a LeakyReLU",
    why="nncase 1.9 gives inputs under the calibrated minimum the lowest value of the table, −0.28 for SiLU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=lambda site, match: build_bend(site, nn.LeakyReLU(_SLOPE), nn.Hardtanh(_FLOOR, math.inf)),
    initialise=initialise_bend,
)
