"""How large a candidate will be, before a single step of training: a few hundredths of a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.firmware.gate import judge
from pipeline.firmware.predicted import judge_predicted
from pipeline.firmware.verdict import Check, KmodelFacts, Verdict
from pipeline.pruning.apply import remove_channels
from pipeline.pruning.prune import least_important
from pipeline.recipe import Gate
from pipeline.search.problem import Problem
from pipeline.search.space import Settings
from pipeline.steps.predicted import predicted

_FIGURES = (
    ("needed_bytes", "limit_bytes"),
    ("kmodel_bytes", "limit_bytes"),
    ("kpu_bytes", "limit_bytes"),
    ("most_loads", "limit_loads"),
)
"""What a check names as seen and allowed."""


@dataclass(frozen=True)
class Sized:
    """What a candidate's kmodel would need.

    Attributes:
        facts: predicted.
        over: by check of the gate, how far over its limit as a share of it; at most 0 where it holds.
    """

    facts: KmodelFacts
    over: Mapping[str, float]

    @property
    def fits(self) -> bool:
        """Whether the firmware could hold it."""
        return all(value <= 0 for value in self.over.values())


def size(problem: Problem, settings: Settings) -> Sized:
    """Predict a candidate's kmodel and hold it against the firmware.

    Raises:
        RecipeError: a rule preferred is none.
    """
    if settings.prune is not None:
        gone = problem.channels_of(settings.prune.keep or {})
        removals = {name: least_important(problem.importance[name], count) for name, count in gone.items()}
        pruned = remove_channels(problem.narrow, problem.contract.image, removals)
    else:
        pruned = problem.network
    prediction = predicted(pruned, problem.contract, problem.version, settings.replace)
    return _sized(judge_predicted(prediction, problem.profile, problem.recipe.target))


def hold_against(problem: Problem, facts: KmodelFacts) -> Sized:
    """Hold a kmodel that there is against the firmware."""
    return _sized(judge(facts, problem.profile, problem.recipe.target, Gate(max_drop=1.0)))


def _sized(verdict: Verdict) -> Sized:
    """Return a verdict as numbers that a sampler can learn from."""
    return Sized(verdict.facts, {check.name: _over(check) for check in verdict.checks})


def _over(check: Check) -> float:
    for seen, limit in _FIGURES:
        if check.figures.get(seen) is not None and check.figures.get(limit):
            share = float(check.figures[seen]) / float(check.figures[limit]) - 1.0
            if (share <= 0) == check.ok:
                return share
    return 0.0 if check.ok else 1.0
