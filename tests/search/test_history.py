"""What is told of each trial, and from how many on it can be said which choices mattered."""

from __future__ import annotations

import optuna
import pytest

from pipeline.search.history import history
from pipeline.search.importance import importances

BOTH = ["accuracy", "kmodel_bytes"]


def study_of(count: int) -> optuna.Study:
    """One choice decides, one is there sometimes, one is always the same; every fifth candidate does not fit."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        decides, _ = trial.suggest_float("decides", 0, 1), trial.suggest_int("same", 1, 1)
        if trial.suggest_categorical("method", ["ptq", "qat"]) == "qat":
            trial.suggest_int("qat_epochs", 1, 4)
        trial.set_user_attr("predicted_bytes", 100)
        trial.set_constraint("model bytes", 0.5 if trial.number % 5 == 4 else -0.5)
        if trial.number % 5 == 4:
            raise optuna.TrialPruned
        trial.set_user_attr("rung0", [decides / 2, 90])
        if trial.number % 5 == 3:
            trial.set_constraint("rung", 0.5)
            raise optuna.TrialPruned
        trial.set_user_attr("rung1", [decides, 100])
        return decides, 100.0

    study.optimize(objective, n_trials=count)
    return study


def test_every_trial_is_told_by_what_became_of_it() -> None:
    rows = history(study_of(5).trials)
    assert [row["became"] for row in rows] == ["evaluated"] * 3 + ["stopped", "rejected"]
    assert all(row["accuracy"] == row["params"]["decides"] for row in rows[:3])
    assert rows[3]["kmodel_bytes"] == 90
    assert [row["over"] for row in rows[3:]] == [{}, {"model bytes": 0.5}]
    assert rows[4]["accuracy"] is None
    assert all(0 <= row["begun_s"] <= row["ended_s"] for row in rows)


def test_what_decides_matters_most() -> None:
    found = importances(study_of(60), BOTH)
    assert list(found) == ["accuracy", "front"]
    for shares in found.values():
        assert next(iter(shares)) == "decides"
        assert shares["same"] == 0
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3)


def test_few_candidates_say_nothing() -> None:
    assert importances(study_of(10), BOTH) == {}
