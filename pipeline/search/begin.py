"""A study begun: the candidates that importance and sensitivity suggest are tried before any other."""

from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from pipeline.errors import RecipeError
from pipeline.search.problem import Problem
from pipeline.search.sensitivity import Sensitivity, by_importance, by_sensitivity, sensitivity
from pipeline.search.size import Sized, size
from pipeline.search.space import Params, Space, keeping, own_params, settings_of
from pipeline.search.study import enqueue

_SHARES = (1.0, 0.2, 0.5, 0.1, 0.35, 0.75)
"""Where candidates are made, from the smallest one's bytes (0) to the most allowed (1): the front is spanned early.
Only the first if size is no objective."""
_MOST = 3  # at most one trial in so many is set before the sampler is asked
_BEGUN = "sensitivity"


def begin(problem: Problem, study: optuna.Study) -> None:
    """Measure the sensitivity of each group and enqueue the first candidates, unless that was done before.

    Raises:
        RecipeError: not even the smallest candidate fits the firmware.
    """
    if _BEGUN in study.user_attrs:
        return
    smallest = _smallest(problem)
    space, search = problem.space, problem.recipe.search
    assert search is not None
    wanted = max(search.trials // _MOST, 1)
    measured: Sensitivity = {}
    points = [own_params(space)]
    if problem.recipe.prune is not None and problem.groups:
        measured = sensitivity(problem)
        whole = size(problem, settings_of(own_params(space), space)).facts.kmodel_bytes
        most = min(problem.budget, whole)
        shares = (_SHARES if len(search.objectives) > 1 else _SHARES[:1])[:wanted]
        budgets = [int(smallest + share * (most - smallest)) for share in shares]
        # Importance chooses as ``prune`` does, sensitivity reaches smaller networks.
        weighed, felt = by_importance(problem, budgets), by_sensitivity(problem, measured, budgets)
        found = [(budget, first or second) for budget, first, second in zip(budgets, weighed, felt, strict=True)]
        found += [(budget, second) for budget, first, second in zip(budgets, weighed, felt, strict=True) if first]
        points += [
            {**own_params(space), **keeping(space, kept), **_effort(space, 1 - budget / whole)}
            for budget, kept in found
            if kept is not None
        ]
    different = [point for at, point in enumerate(points) if point not in points[:at]]
    fitting = [point for point in different if size(problem, settings_of(point, space)).fits]
    enqueue(study, fitting[:wanted], space)
    study.set_user_attr(_BEGUN, {name: list(losses) for name, losses in measured.items()})


def _effort(space: Space, gone: float) -> Params:
    """Return how to fine-tune a network of which a share of the bytes is ``gone``: the more, the longer and faster."""
    own = own_params(space)
    if "epochs" not in own:
        return {}
    epochs, lr = space.dimensions["epochs"], space.dimensions["lr"]
    assert isinstance(epochs, IntDistribution)
    assert isinstance(lr, FloatDistribution)
    return {"epochs": min(round(own["epochs"] * (1 + gone)), epochs.high), "lr": min(own["lr"] * 2**gone, lr.high)}


def _smallest(problem: Problem) -> int:
    """Return the bytes of the smallest candidate. Raises RecipeError if not even that fits."""
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
    return found.facts.kmodel_bytes
