"""A recipe's search: what it is about, its workers, and the results that it comes to."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from pipeline.compiler.environment import find_nncase
from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, RecipeError
from pipeline.failure import tell
from pipeline.processes import die_with_parent
from pipeline.recipe import Search
from pipeline.search.artifacts import store_at
from pipeline.search.begin import begin
from pipeline.search.problem import Problem
from pipeline.search.progress import search_bar
from pipeline.search.study import (
    OPENING_S,
    Place,
    active,
    finished,
    open_study,
    place_of,
    sampler_of,
    storage_errors,
)
from pipeline.search.worker import PATIENCE_S, How, work
from pipeline.search.workers import run_workers
from pipeline.stages.layout import Run, open_run
from pipeline.stages.networks import load_network
from pipeline.stages.target import target_profile, target_version
from pipeline.training.data.load import load_training

EXIT_STOPPED = 130
"""As shells have it for a command that Ctrl-C ended."""

_AGAIN_S = 0.05

STORAGE, _ARTIFACTS = "KPUFIT_SEARCH_STORAGE", "KPUFIT_SEARCH_ARTIFACTS"
"""How the workers learn where the study is: a password in a command line could be read by everyone."""


@dataclass(frozen=True)
class Searched:
    """A search that has come to its end.

    Attributes:
        problem: what it was about.
        place: where its study is.
        study: with all its trials.
    """

    problem: Problem
    place: Place
    study: optuna.Study


def search_of(run: Run) -> Search:
    """Return the recipe's section. Raises RecipeError where it is null."""
    if run.recipe.search is None:
        raise RecipeError(
            "is null: there is nothing to search",
            where=f"recipes/{run.name}.yaml: search",
            remedy="write `search: {trials: 24}`",
        )
    return run.recipe.search


def problem_of(run: Run) -> Problem:
    """Return what a recipe's search is about. Raises StorageError where its network is not trained yet."""
    search_of(run)
    trained = load_network(run.made_by("train", "network.onnx"))
    return Problem(
        run.recipe,
        trained.graph,
        trained.contract,
        load_training(run.recipe.data, run.recipe.seed, run.root),
        target_profile(run),
        target_version(run),
        find_nncase(run.root),
    )


def open_search(run: Run, storage: str | None = None, *, patience_s: float = OPENING_S) -> Searched:
    """Open a recipe's study, or begin an empty one.

    Args:
        run: the recipe.
        storage: the database's URL; the recipe's own unless given.
        patience_s: for how long the database may be away.

    Raises:
        StorageError: the network is not trained yet, or the database cannot be used.
    """
    search, problem = search_of(run), problem_of(run)
    place = place_of(run.root, run.name, problem.identity, storage or search.storage)
    study = open_study(place, search.objectives, sampler_of(run.recipe.seed), patience_s=patience_s)
    return Searched(problem, place, study)


def search(
    run: Run, *, workers: int | None = None, storage: str | None = None, artifacts: str | None = None
) -> Searched:
    """Run a recipe's study to its end, going on where it was left.

    Args:
        run: the recipe.
        workers: processes on this machine; as many as it has cores unless given.
        storage: the database's URL; the recipe's own unless given.
        artifacts: a folder, or s3://BUCKET, for the kmodels; a folder beside the study unless given.

    Raises:
        StorageError: the network is not trained yet, or the database cannot be used.
        RecipeError: nothing fits the firmware.
        ToolError: a worker failed.
        KeyboardInterrupt: asked to stop.
    """
    settings, found = search_of(run), open_search(run, storage)
    with storage_errors(found.place):
        trials = found.study.get_trials(deepcopy=False)
        done = len(finished(trials)) >= settings.trials and not active(trials)
        if not done:
            torch.set_num_threads(1)  # what is measured is small, and other threads would only wait for each other
            begin(found.problem, found.study)
    if not done:
        variables = {
            STORAGE: storage or settings.storage,
            _ARTIFACTS: artifacts or str(found.place.folder / "artifacts"),
        }
        command = [sys.executable, "-m", "pipeline.stages.study", run.name]
        images = len(found.problem.data.validation)
        with search_bar(found.study, found.place, settings, images) as draw:
            run_workers(command, workers or len(os.sched_getaffinity(0)), draw, variables)
    return found


def main(arguments: list[str]) -> int:
    """Work on the study of a recipe: what ``search`` starts for each worker."""
    die_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    sys.unraisablehook = _once_more
    try:
        run = open_run(Path.cwd(), arguments[0])
        torch.set_num_threads(1)
        found = open_search(run, os.environ[STORAGE], patience_s=PATIENCE_S)
        found.study.sampler.reseed_rng()  # workers of one seed would all draw the same
        settings = search_of(run)
        found.problem.prepare()
        work(
            found.problem,
            found.study,
            found.place,
            How(settings.trials, settings.rungs, settings.effort),
            store_at(os.environ[_ARTIFACTS]),
        )
    except KeyboardInterrupt:
        return EXIT_STOPPED
    except Exception as error:
        tell("kpufit search", error)
        return EXIT_ERROR
    return EXIT_ACCEPTED


def _once_more(lost: Any) -> None:
    """Interrupt again a moment later where Python lost the interrupt, as it does in a callback of its collector."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
    else:
        sys.__unraisablehook__(lost)


def _interrupt(signum: int, frame: Any) -> None:
    signal.signal(signum, signal.SIG_IGN)  # once: a second must not disturb how the candidate is given back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
