"""A study begun: the candidates that importance and sensitivity suggest are tried before any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from pipeline.errors import RecipeError
from pipeline.search.even import bytes_of, evenly, largest_even
from pipeline.search.problem import Problem
from pipeline.search.sensitivity import (
    Sensitivity,
    by_importance,
    by_sensitivity,
    sensitivity,
)
from pipeline.search.size import Sized, size
from pipeline.search.space import Params, Space, keeping, own_params, settings_of
from pipeline.search.study import enqueue

_SHARES = (1.0, 0.0, 0.15, 0.4, 0.07, 0.25)
"""Where candidates are made, from the smallest even one's bytes (0) to the most allowed (1): the front is spanned
early, closest where it bends. Only the first if size is no objective."""
_SMALL = 0.25
"""Of the whole network's bytes: a candidate of less is pruned evenly, as importance leaves bottlenecks in it."""
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
    fitting: list[Params] = []
    candidates: Iterator[Params] = iter([own_params(space)])
    if problem.recipe.prune is not None and problem.groups:
        measured = sensitivity(problem)
        candidates = _candidates(problem, measured, several=len(search.objectives) > 1)
    for point in candidates:
        if point not in fitting and size(problem, settings_of(point, space)).fits:
            fitting.append(point)
        if len(fitting) == wanted:
            break
    enqueue(study, fitting, space)
    study.set_user_attr(_BEGUN, {name: list(losses) for name, losses in measured.items()})


def _candidates(problem: Problem, measured: Sensitivity, *, several: bool) -> Iterator[Params]:
    """Yield candidates in the order in which they are to be tried; ``several`` objectives want a front."""
    space = problem.space
    own = own_params(space)
    yield own
    whole = bytes_of(problem, own)
    most = min(problem.budget, whole)
    least = min(bytes_of(problem, evenly(problem, 0)), most)
    budgets = [int(least + share * (most - least)) for share in (_SHARES if several else _SHARES[:1])]
    ways = [(budget, partial(_first_way, problem, budget, whole)) for budget in budgets]
    ways += [(budget, partial(_second_way, problem, measured, budget, whole)) for budget in budgets]
    for budget, way in ways:
        point = way()
        if point is not None:
            yield {**point, **_effort(space, 1 - budget / whole)}


def _first_way(problem: Problem, budget: int, whole: int) -> Params | None:
    if budget < _SMALL * whole:
        return largest_even(problem, budget)
    return _with(problem, by_importance(problem, [budget])[0])


def _second_way(problem: Problem, measured: Sensitivity, budget: int, whole: int) -> Params | None:
    if budget < _SMALL * whole:
        return _with(problem, by_importance(problem, [budget])[0])
    return _with(problem, by_sensitivity(problem, measured, [budget])[0])


def _with(problem: Problem, channels: Mapping[str, int] | None) -> Params | None:
    return None if channels is None else {**own_params(problem.space), **keeping(problem.space, channels)}


def _effort(space: Space, gone: float) -> Params:
    """Return how to fine-tune a network of which a share of the bytes is ``gone``: the more, the longer and faster."""
    own = own_params(space)
    if "epochs" not in own:
        return {}
    epochs, lr = space.dimensions["epochs"], space.dimensions["lr"]
    assert isinstance(epochs, IntDistribution)
    assert isinstance(lr, FloatDistribution)
    return {"epochs": min(round(own["epochs"] * (1 + gone)), epochs.high), "lr": min(own["lr"] * 2**gone, lr.high)}


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
