"""A study begun: the candidates that importance and sensitivity suggest are tried before any other."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from pipeline.errors import RecipeError
from pipeline.search.problem import Problem
from pipeline.search.sensitivity import by_importance, by_sensitivity, sensitivity
from pipeline.search.size import Sized, size
from pipeline.search.space import Params, keeping, own_params, settings_of
from pipeline.search.study import enqueue

_SHARES = (1.0, 0.3, 0.6, 0.15, 0.45, 0.8)
"""Of the budget, at which candidates are made: the front is spanned early. Only the first if size is no objective."""
_MOST = 3  # at most one trial in so many is set before the sampler is asked
_BEGUN = "sensitivity"


def begin(problem: Problem, study: optuna.Study) -> None:
    """Measure the sensitivity of each group and enqueue the first candidates, unless that was done before.

    Raises:
        RecipeError: not even the smallest candidate fits the firmware.
    """
    if _BEGUN in study.user_attrs:
        return
    _check_smallest(problem)
    space, search = problem.space, problem.recipe.search
    assert search is not None
    points = [own_params(space)]
    if problem.recipe.prune is not None and problem.groups:
        measured = sensitivity(problem)
        several = len(search.objectives) > 1
        whole = size(problem, settings_of(own_params(space), space)).facts.kmodel_bytes
        shares = _SHARES if several else _SHARES[:1]
        budgets = [int(share * min(problem.budget, whole)) for share in shares]
        ways = (by_importance(problem, budgets), by_sensitivity(problem, measured, budgets))
        # One way for each size, in turn, before the other way: few trials then still cover every size.
        for turn in range(len(ways)):
            each = [ways[(index + turn) % len(ways)][index] for index in range(len(budgets))]
            points += [{**own_params(space), **keeping(space, kept)} for kept in each if kept is not None]
    else:
        measured = {}
    fitting = [point for point in points if size(problem, settings_of(point, space)).fits]
    enqueue(study, _spread(fitting, max(search.trials // _MOST, 1)), space)
    study.set_user_attr(_BEGUN, {name: list(losses) for name, losses in measured.items()})


def _spread(points: Sequence[Params], count: int) -> list[Params]:
    """Return at most ``count`` different points, the first of each kind before the second."""
    different: list[Params] = []
    for point in points:
        if point not in different:
            different.append(point)
    return different[:count]


def _check_smallest(problem: Problem) -> None:
    space = problem.space
    smallest = {**own_params(space), **keeping(space, dict.fromkeys((group.name for group in problem.groups), 0))}
    found: Sized = size(problem, settings_of(smallest, space))
    if not found.fits:
        failing = ", ".join(name for name, over in found.over.items() if over > 0)
        raise RecipeError(
            f"not even the smallest candidate fits ({failing}): {found.facts.kmodel_bytes:,} bytes are predicted with "
            "every group at its fewest channels",
            where="search",
            remedy="raise target.model_bytes, choose a firmware with more room, or begin with a narrower network",
        )
