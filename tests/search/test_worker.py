"""A worker whose candidates fail, that is taken for dead, or told to stop; nothing is trained here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from search_problem import tiny_problem

from pipeline.errors import StorageError, ToolError
from pipeline.firmware.verdict import KmodelFacts
from pipeline.search import worker
from pipeline.search.artifacts import store_at
from pipeline.search.evaluate import Measured
from pipeline.search.problem import Problem
from pipeline.search.size import size
from pipeline.search.space import Settings, own_params, settings_of
from pipeline.search.study import ERROR, Place, finished, open_study, place_of, sampler_of
from pipeline.search.worker import How, work

TRIALS = 2
Act = Callable[[optuna.Study], None]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return tiny_problem(model_bytes=20_000)  # everything fits


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(tmp_path, "tiny", "0123456789abcdef", "sqlite")


def search(
    problem: Problem, place: Place, monkeypatch: pytest.MonkeyPatch, act: Act, compiled: KmodelFacts | None = None
) -> list[optuna.trial.FrozenTrial]:
    """Work on a study; ``act`` happens instead of each candidate's training, which comes to ``compiled``."""
    study = open_study(place, ("accuracy", "kmodel_bytes"), sampler_of(0))

    def evaluate(problem: Problem, settings: Settings, *_: Any, **__: Any) -> Measured:
        act(study)
        facts = compiled or size(problem, settings).facts
        return Measured(0.5, facts, b"kmodel")

    monkeypatch.setattr(worker, "evaluate", evaluate)
    try:
        work(problem, study, place, How(TRIALS, rungs=1), store_at(place.folder / "artifacts"))
    finally:
        trials = study.get_trials()
    return trials


def left(place: Place) -> list[optuna.trial.FrozenTrial]:
    return open_study(place, ("accuracy", "kmodel_bytes"), sampler_of(0)).get_trials()


def test_candidates_that_fail_one_after_another_end_the_search(
    problem: Problem, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(study: optuna.Study) -> None:
        raise ToolError("nncase is broken", where="candidate", remedy="make setup")

    with pytest.raises(ToolError, match="nncase is broken"):
        search(problem, place, monkeypatch, fail)
    failed = left(place)
    assert {trial.state for trial in failed} == {TrialState.FAIL}
    assert all("nncase is broken" in trial.user_attrs[ERROR] for trial in failed)
    trials = search(problem, place, monkeypatch, lambda study: None)  # mended, the same study goes on
    assert len(finished(trials)) == TRIALS


def test_a_worker_taken_for_dead_goes_on_and_its_candidate_counts_once(
    problem: Problem, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = []

    def buried(study: optuna.Study) -> None:
        times.append(1)
        if len(times) == 1:
            study.tell(0, state=TrialState.FAIL)

    trials = search(problem, place, monkeypatch, buried)
    assert len(finished(trials)) == TRIALS
    assert [trial.number for trial in trials if trial.state == TrialState.FAIL] == [0]
    assert [trial.system_attrs["retry_history"] for trial in trials if "retry_history" in trial.system_attrs] == [[0]]


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt(), StorageError("cannot be written (No space left)")])
def test_a_worker_that_must_stop_gives_its_candidate_back(
    problem: Problem, place: Place, monkeypatch: pytest.MonkeyPatch, stopped_by: BaseException
) -> None:
    def stop(study: optuna.Study) -> None:
        raise stopped_by

    with pytest.raises(type(stopped_by)):
        search(problem, place, monkeypatch, stop)
    assert [trial.state for trial in left(place)] == [TrialState.FAIL, TrialState.WAITING]
    trials = search(problem, place, monkeypatch, lambda study: None)
    assert next(trial.number for trial in finished(trials)) == 1
    assert len(finished(trials)) == TRIALS


def test_what_does_not_fit_once_compiled_does_not_count(
    problem: Problem, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_MOST_CANDIDATES", 2)
    too_large = dataclasses.replace(size(problem, settings_of(own_params(problem.space), problem.space)).facts,
                                    kmodel_bytes=1_000_000)  # fmt: skip
    trials = search(problem, place, monkeypatch, lambda study: None, too_large)
    assert len(trials) == 2 * TRIALS
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert finished(trials) == []


def test_an_error_of_our_own_is_shown_and_not_met_again(
    problem: Problem, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def err(study: optuna.Study) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(problem, place, monkeypatch, err)
    (failed,) = left(place)
    assert (failed.state, failed.user_attrs[ERROR]) == (TrialState.FAIL, "ZeroDivisionError()")
