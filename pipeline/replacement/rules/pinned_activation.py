"""SiLU, hard-swish, Mish → the same with what is below its dip clamped to it, learned.

Such a function never falls, so the least code stands for its least value, as nncase takes it to. Mean square error over
the variance of the function, 4,096 normal numbers z, beside the nearest LeakyReLU's (`curved_activation`):

| mean, deviation of z | 0, 0.5 | 0, 1 | 0, 2 | 0, 4 | −1, 1 | 1, 1 |
|---|---|---|---|---|---|---|
| SiLU, clamped | 0.0000 | 0.0005 | 0.0022 | 0.0023 | 0.0195 | 0.0000 |
| LeakyReLU | 0.092 | 0.025 | 0.010 | 0.013 | 0.137 | 0.006 |
| hard-swish, clamped | 0.0000 | 0.0018 | 0.0083 | 0.0062 | 0.0759 | 0.0001 |
| LeakyReLU | 0.143 | 0.047 | 0.019 | 0.016 | 0.250 | 0.013 |

Not within a branch that an Add or Concat joins with another: `residual_carry` and `residual_merge` carry the other
branch through the same layers, and only a function that is the identity somewhere lets it pass.
"""

from __future__ import annotations

import copy
import math

from torch import Tensor, nn

from pipeline.replacement.dips import DIPS, clamped_at_dip, in_branch
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.sources import set_conv, source_of


def _match(site: Site) -> Match | Miss:
    given = site.before()
    assert given is not None
    if clamped_at_dip(site):
        return Miss("clamped at its least value")
    source = source_of(site, given)
    if source is None:
        return Miss("nncase 1.9 folds a clamp only behind a convolution that it alone reads")
    if in_branch(site):
        return Miss("in a branch, through which it would let no copy of the other pass")
    return Match((*source.nodes, site.node), f"{type(site.module()).__name__} behind {source.nodes[0].target}")


def _build(site: Site, match: Match) -> Built:
    activation, given = site.module(), site.before()
    assert activation is not None
    assert given is not None
    source = source_of(site, given)
    assert source is not None
    chain = nn.Sequential()
    chain.add_module("conv", source.blank())
    chain.add_module("clamp", nn.Hardtanh(DIPS[type(activation)], math.inf))
    chain.add_module("act", copy.deepcopy(activation))
    return Built(chain)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    given = site.before()
    assert given is not None
    source = source_of(site, given)
    assert source is not None
    assert isinstance(chain[0], nn.Conv2d)
    set_conv(chain[0], source.folded(site))


RULE = Rule(
    name="pinned-activation",
    kind="learned",
    concerns=tuple(DIPS),
    matches="SiLU, hard-swish and Mish, with the convolution and BatchNorm before them",
    becomes="that convolution, a clamp at the input of the function's least value, and the function: one layer",
    why="nncase 1.9 gives inputs under the calibrated minimum the lowest value of the table, −0.28 for SiLU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
