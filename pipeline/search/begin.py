"""A study begun: the candidates that importance and sensitivity suggest are tried before any other."""

from __future__ import annotations

import optuna

from pipeline.errors import RecipeError
from pipeline.search.problem import Problem
from pipeline.search.sensitivity import Sensitivity, by_importance, by_sensitivity, sensitivity
from pipeline.search.size import Sized, size
from pipeline.search.space import keeping, own_params, settings_of
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
    wanted = max(search.trials // _MOST, 1)
    measured: Sensitivity = {}
    points = [own_params(space)]
    if problem.recipe.prune is not None and problem.groups:
        measured = sensitivity(problem)
        several = len(search.objectives) > 1
        whole = size(problem, settings_of(own_params(space), space)).facts.kmodel_bytes
        shares = (_SHARES if several else _SHARES[:1])[:wanted]
        budgets = [int(share * min(problem.budget, whole)) for share in shares]
        # Importance first: of candidates of a size, its were the more accurate ones (8 kB: 82 % against 65 %).
        found = by_importance(problem, budgets)
        missing = wanted - sum(kept is not None for kept in found)
        found += by_sensitivity(problem, measured, budgets[:missing])
        points += [{**own_params(space), **keeping(space, kept)} for kept in found if kept is not None]
    different = [point for at, point in enumerate(points) if point not in points[:at]]
    fitting = [point for point in different if size(problem, settings_of(point, space)).fits]
    enqueue(study, fitting[:wanted], space)
    study.set_user_attr(_BEGUN, {name: list(losses) for name, losses in measured.items()})


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
