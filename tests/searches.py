"""Projects with a small search, and what must be true of its study in the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from projects import make_folder, replace_section, run, set_recipe

from pipeline.search.study import ERROR, SURPLUS, active, finished, origin
from pipeline.stages.layout import open_run
from pipeline.stages.study import open_search

#: A worker that is dead counts as dead sooner, and computes with one thread like its neighbours.
ENVIRONMENT = {"KPUFIT_SEARCH_GRACE_S": "8", "OMP_NUM_THREADS": "1"}


def searching_project(folder: Path, trials: int, **search: object) -> Path:
    """A project whose network is trained, for a search as cheap as it gets: no TensorFlow, hardly any training."""
    folder.mkdir(parents=True)
    project = make_folder(folder)
    set_recipe(project, "target", model_bytes=9000)
    set_recipe(project, "train", epochs=1)
    set_recipe(project, "prune", finetune={"epochs": 1, "distil": False})
    set_recipe(project, "replace", regression_steps=4, distil_steps=4, max_drop=1.0)
    set_recipe(project, "quantise", method="ptq")
    replace_section(project, "search", {"trials": trials, "rungs": 1, **search})
    trained = run(project, sys.executable, "-m", "pipeline.stages", "train", "tiny", **ENVIRONMENT)
    assert trained.returncode == 0, trained.stderr
    return project


def trials_of(project: Path, storage: str | None = None) -> list[FrozenTrial]:
    return open_search(open_run(project, "tiny"), storage).study.get_trials()


def check_whole(trials: Sequence[FrozenTrial], wanted: int) -> None:
    """Assert that as many as wanted are done, each once, and that every candidate came to an end that is noted."""
    done = finished(trials)
    assert len(done) == wanted
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == wanted
    assert active(trials) == []
    repeated = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    for trial in trials:
        if trial.state == TrialState.FAIL:
            assert trial.number in repeated or {ERROR, SURPLUS} & set(trial.user_attrs), trial
    ends = {TrialState.COMPLETE, TrialState.PRUNED}
    for number in {origin(trial) for trial in trials}:
        last = [trial for trial in trials if origin(trial) == number]
        assert any(trial.state in ends or {ERROR, SURPLUS} & set(trial.user_attrs) for trial in last), number
