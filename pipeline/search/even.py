"""Small candidates: every group keeps the same share of its channels, and rules are chosen for their bytes."""

from __future__ import annotations

import math
from bisect import bisect_right

from optuna.distributions import CategoricalDistribution

from pipeline.search.problem import Problem
from pipeline.search.size import size
from pipeline.search.space import Params, keeping, own_params, settings_of

_RULE = "rule."  # how `space` names the choice of one
_STEPS = 64
_LEAST_CHANNELS = 8  # or half of what there is: a layer of fewer is a bottleneck


def evenly(problem: Problem, share: float) -> Params:
    """Return the recipe's own settings with a share (0 to 1) of every group's channels and the smallest rules."""
    space = problem.space
    channels = {
        group.name: max(round(share * group.channels), min(_LEAST_CHANNELS, math.ceil(group.channels / 2)))
        for group in problem.groups
    }
    point = {**own_params(space), **keeping(space, channels)}
    for name, distribution in space.dimensions.items():
        if name.startswith(_RULE) and isinstance(distribution, CategoricalDistribution):
            sizes = {rule: bytes_of(problem, {**point, name: rule}) for rule in distribution.choices}
            point[name] = min(sizes, key=lambda rule: sizes[rule])
    return point


def largest_even(problem: Problem, budget: int) -> Params | None:
    """Return the candidate of `evenly` with the most channels within ``budget`` bytes; None where there is none."""
    shares = [step / _STEPS for step in range(_STEPS + 1)]
    fitting = bisect_right(shares, budget, key=lambda share: bytes_of(problem, evenly(problem, share)))
    return evenly(problem, shares[fitting - 1]) if fitting else None


def bytes_of(problem: Problem, point: Params) -> int:
    """Return the predicted bytes of a candidate's kmodel."""
    return size(problem, settings_of(point, problem.space)).facts.kmodel_bytes
