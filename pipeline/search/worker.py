"""One worker of a study: asks for a candidate, sizes it, lifts it rung by rung, until enough are evaluated fully."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.artifacts import upload_artifact
from optuna.trial import TrialState

from pipeline.errors import KpufitError, StorageError
from pipeline.search.artifacts import Store
from pipeline.search.evaluate import Measured, evaluate
from pipeline.search.problem import Problem
from pipeline.search.rungs import Result, beaten_by, goes_on, share_of
from pipeline.search.size import hold_against, size
from pipeline.search.space import Settings, settings_of, suggest
from pipeline.search.study import (
    ERROR,
    SURPLUS,
    DatabaseError,
    Place,
    active,
    experimental,
    finished,
    give_back,
    is_surplus,
    origin,
    retry_lost,
    storage_errors,
)

_WAIT_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_PATIENCE_S = 600.0
"""For how long a database may be away."""
_LONGEST_ATTRIBUTE = 2000  # characters; Optuna's RDB storage holds 2,048 an attribute
_MOST_CANDIDATES = 200
"""Candidates of any kind for each one that is to be evaluated fully: in a space where so few fit, there are no more."""
_MOST_FAILURES = 5
"""Candidates in a row that a tool may fail on before the search is given up."""


@dataclass(frozen=True)
class How:
    """How a worker searches.

    Attributes:
        trials: candidates to evaluate fully, over all workers.
        rungs: levels of effort.
        effort: share of the recipe's own that the last rung has.
        sized: whether candidates are sized before they are trained.
    """

    trials: int
    rungs: int = 2
    effort: float = 1.0
    sized: bool = True


class _GivenUpError(Exception):
    """A candidate that failed for a reason that is noted."""


def work(
    problem: Problem, study: optuna.Study, place: Place, how: How, store: Store, *, patience_s: float = _PATIENCE_S
) -> None:
    """Evaluate candidates until enough are, here or elsewhere.

    A database that is away is waited for, ever longer. A candidate given up half-way (Ctrl-C) is enqueued again.

    Raises:
        StorageError: the disk is full, the database's file is damaged, or it stays away.
        KpufitError: one candidate after another failed; the last one's error.
        KeyboardInterrupt: asked to stop; the candidate under way is given back.
    """
    pause, away_since = _FIRST_PAUSE_S, None
    failures: list[KpufitError] = []
    while True:
        try:
            with storage_errors(place):
                if not _step(problem, study, place, how, store, failures):
                    return
            pause, away_since = _FIRST_PAUSE_S, None
        except DatabaseError as error:
            away_since = away_since or time.monotonic()
            if error.lasting or time.monotonic() - away_since > patience_s:
                raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        if len(failures) >= _MOST_FAILURES:
            raise failures[-1]


def _step(
    problem: Problem, study: optuna.Study, place: Place, how: How, store: Store, failures: list[KpufitError]
) -> bool:
    """Evaluate one candidate, or wait for others; False when there is nothing left to do."""
    retry_lost(study)
    trials = study.get_trials(deepcopy=False)
    done, under_way = finished(trials), active(trials)
    if len(done) >= how.trials or len(trials) >= _MOST_CANDIDATES * how.trials:
        return False
    waiting = any(trial.state == TrialState.WAITING for trial in under_way)
    if not waiting and len({origin(trial) for trial in (*done, *under_way)}) >= how.trials:
        time.sleep(_WAIT_S)
        with experimental():
            optuna.storages.fail_stale_trials(study)
        return True
    begun: list[int] = []

    def objective(trial: optuna.Trial) -> Sequence[float]:
        begun.append(trial.number)
        try:
            values = _candidate(trial, problem, place, how, store)
        except StorageError:
            raise
        except KpufitError as error:
            trial.set_user_attr(ERROR, str(error)[:_LONGEST_ATTRIBUTE])
            failures.append(error)
            raise _GivenUpError from error
        failures.clear()
        return values

    try:
        study.optimize(objective, n_trials=1, catch=(_GivenUpError,))
    except KeyboardInterrupt:
        _stop(study, begun)
        raise
    except optuna.exceptions.UpdateFinishedTrialError:
        pass  # we were taken for dead, and the candidate is tried again: what was computed is reused
    return True


def _candidate(trial: optuna.Trial, problem: Problem, place: Place, how: How, store: Store) -> Sequence[float]:
    """Return a candidate's objectives; raises TrialPruned where it does not fit or is not worth the next rung."""
    study = trial.study
    trials = study.get_trials(deepcopy=False)
    if is_surplus(trials[trial.number], trials, how.trials):
        trial.set_user_attr(SURPLUS, True)
        raise _GivenUpError
    settings = settings_of(suggest(trial, problem.space), problem.space)
    if how.sized:
        started = time.perf_counter()
        sized = size(problem, settings)
        trial.set_user_attr("sizing_s", round(time.perf_counter() - started, 4))
        trial.set_user_attr("predicted_bytes", sized.facts.kmodel_bytes)
        for name, over in sized.over.items():
            trial.set_constraint(name, over)
        if not sized.fits:
            raise optuna.TrialPruned
    measured = _lift(trial, problem, settings, place, how)
    if not how.sized:  # learnt only now that it is there
        for name, over in hold_against(problem, measured.facts).over.items():
            trial.set_constraint(name, over)
    _keep(measured, trial, store)
    return objectives_of(problem, measured)


def _lift(trial: optuna.Trial, problem: Problem, settings: Settings, place: Place, how: How) -> Measured:
    """Evaluate a candidate rung by rung; raises TrialPruned where it is not worth the next."""
    for rung in range(how.rungs):
        last = rung == how.rungs - 1
        share = share_of(rung, how.rungs, how.effort)
        measured = evaluate(problem, settings, share, place.folder / "cache", trained=last)
        result = Result(measured.accuracy, measured.facts.kmodel_bytes)
        trial.set_user_attr(f"rung{rung}", [result.accuracy, result.kmodel_bytes])
        others = _at_rung(trial.study, rung, trial.number)
        if not last and not goes_on(result, others):
            trial.set_constraint("rung", beaten_by(result, others) / len(others))
            raise optuna.TrialPruned
    return measured


def objectives_of(problem: Problem, measured: Measured) -> list[float]:
    """Return what the recipe's objectives come to, in their order: a fraction, bytes, milliseconds."""
    facts = measured.facts
    values = {
        "accuracy": measured.accuracy,
        "kmodel_bytes": float(facts.kmodel_bytes),
        "heap_bytes": float(facts.heap_bytes),
        "latency": facts.latency_ms or 0.0,
    }
    assert problem.recipe.search is not None
    return [values[name] for name in problem.recipe.search.objectives]


def _at_rung(study: optuna.Study, rung: int, number: int) -> list[Result]:
    """What every other candidate came to at a rung; of repeated ones, the one that counts."""
    found = {}
    for trial in study.get_trials(deepcopy=False):
        value = trial.user_attrs.get(f"rung{rung}")
        if value is not None and trial.number != number and trial.state != TrialState.FAIL:
            found[origin(trial)] = Result(*value)
    return list(found.values())


def _keep(measured: Measured, trial: optuna.Trial, store: Store) -> None:
    """Upload the kmodel, so that any machine has it."""
    with tempfile.TemporaryDirectory(prefix="kpufit-") as folder:
        path = Path(folder) / "network.kmodel"
        path.write_bytes(measured.kmodel)
        identifier = upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)
    facts = {name: getattr(measured.facts, name) for name in ("kmodel_bytes", "heap_bytes", "kpu_bytes", "latency_ms")}
    for name, value in {"kmodel": identifier, "accuracy": measured.accuracy, **facts}.items():
        trial.set_user_attr(name, value)


def _stop(study: optuna.Study, numbers: Sequence[int]) -> None:
    """Give the candidate under way back, so that the next worker need not wait until it counts as dead."""
    for number in numbers:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):
            study.tell(number, state=TrialState.FAIL)
            give_back(study, study.get_trials(deepcopy=False)[number])
