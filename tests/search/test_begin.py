"""What is tried first: candidates that fit, of every size, from importance and from sensitivity."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from optuna.trial import TrialState
from search_problem import tiny_problem

from pipeline.errors import RecipeError
from pipeline.search.begin import begin
from pipeline.search.even import bytes_of, evenly, largest_even
from pipeline.search.problem import Problem
from pipeline.search.sensitivity import by_importance, by_sensitivity, sensitivity
from pipeline.search.size import size
from pipeline.search.space import keeping, own_params, settings_of
from pipeline.search.study import open_study, place_of, sampler_of


@pytest.fixture(scope="module")
def problem() -> Problem:
    return tiny_problem(trials=12)


def test_the_loss_rises_with_what_goes(problem: Problem) -> None:
    for losses in sensitivity(problem).values():
        assert losses[0] == 0
        assert list(losses) == sorted(losses)


def test_both_ways_meet_every_budget(problem: Problem) -> None:
    budgets = [11000, 9000]
    for found in (by_importance(problem, budgets), by_sensitivity(problem, sensitivity(problem), budgets)):
        for budget, keep in zip(budgets, found, strict=True):
            assert keep is not None
            point = {**own_params(problem.space), **keeping(problem.space, keep)}
            needed = size(problem, settings_of(point, problem.space)).facts.kmodel_bytes
            assert 0.7 * budget < needed <= budget


def test_even_pruning_keeps_the_same_share_of_every_group(problem: Problem) -> None:
    least = bytes_of(problem, evenly(problem, 0))
    assert largest_even(problem, least - 1) is None
    for budget in (least, least + 400, 9000, 100_000):
        point = largest_even(problem, budget)
        assert point is not None
        assert bytes_of(problem, point) <= budget
        kept = {(group.channels, point[f"keep.{group.name}"]) for group in problem.groups}
        assert len(kept) == len({group.channels for group in problem.groups})
    assert all(channels == stay for channels, stay in kept)


def test_an_impossible_budget_is_none(problem: Problem) -> None:
    assert by_importance(problem, [100]) == [None]
    assert by_sensitivity(problem, sensitivity(problem), [100]) == [None]


def test_a_study_begins_once_with_candidates_that_fit(problem: Problem, tmp_path: Path) -> None:
    place = place_of(tmp_path, "tiny", problem.identity, "sqlite")
    study = open_study(place, ("accuracy", "kmodel_bytes"), sampler_of(0))
    begin(problem, study)
    begin(problem, open_study(place, ("accuracy", "kmodel_bytes"), sampler_of(0)))
    trials = study.get_trials()
    assert 2 <= len(trials) <= 4
    assert {trial.state for trial in trials} == {TrialState.WAITING}
    asked = [study.ask(problem.space.dimensions).params for _ in trials]
    assert len({str(params) for params in asked}) == len(asked)
    assert all(size(problem, settings_of(params, problem.space)).fits for params in asked)
    assert set(study.user_attrs["sensitivity"]) == {group.name for group in problem.groups}


def test_a_budget_that_nothing_meets_is_said_before_anything_is_tried(problem: Problem, tmp_path: Path) -> None:
    target = problem.recipe.target.model_copy(update={"model_bytes": 500})
    small = dataclasses.replace(problem, recipe=problem.recipe.model_copy(update={"target": target}))
    study = open_study(place_of(tmp_path, "t", small.identity, "sqlite"), ("accuracy",), sampler_of(0))
    with pytest.raises(RecipeError, match="smallest candidate") as error:
        begin(small, study)
    assert "model bytes" in str(error.value)
    assert study.get_trials() == []
