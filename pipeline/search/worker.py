"""One worker of a study: asks for a candidate, sizes it, lifts it rung by rung, until enough are evaluated fully."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from pipeline.errors import KpufitError, StorageError
from pipeline.search.artifacts import Store, keep
from pipeline.search.evaluate import Measured, evaluate
from pipeline.search.problem import Problem
from pipeline.search.rungs import Result, beaten_by, goes_on, share_of
from pipeline.search.size import hold_against, size
from pipeline.search.space import Params, Settings, settings_of, suggest
from pipeline.search.study import (
    ERROR,
    SURPLUS,
    DatabaseError,
    Place,
    active,
    at_work,
    experimental,
    finished,
    is_surplus,
    origin,
    patiently,
    retry_lost,
    was_set,
)

PATIENCE_S = 600.0
"""For how long a database may be away."""
_WAIT_S = 1.0
_STOPPING_S = 5.0
"""For how long it may be away when the search is stopped: what is not given back then counts as dead later."""
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


class _RejectedError(optuna.TrialPruned):
    """A candidate that does not fit."""


class _SurplusError(Exception):
    """Enough other candidates are done or under way."""


def work(
    problem: Problem, study: optuna.Study, place: Place, how: How, store: Store, *, patience_s: float = PATIENCE_S
) -> None:
    """Evaluate candidates until enough are, here or elsewhere, and none is under way.

    A database that is away is waited for. A candidate given up half-way (Ctrl-C, a full disk) is enqueued again.

    Raises:
        StorageError: the disk is full, the database's file is damaged, or it stays away.
        KpufitError: one candidate after another failed; the last one's error.
        KeyboardInterrupt: asked to stop; the candidate under way is given back.
    """
    failures: list[KpufitError] = []
    while (trial := patiently(place, lambda: _next(study, how), patience_s)) is not None:
        try:
            with at_work(study, trial):
                failures = _evaluate(trial, problem, place, how, store, failures, patience_s)
        except UpdateFinishedTrialError:
            continue  # we were taken for dead, and the candidate is tried again: what was computed is reused
        except (KeyboardInterrupt, StorageError):
            _hand_back(trial, place)
            raise
        if len(failures) >= _MOST_FAILURES:
            raise failures[-1]


def _next(study: optuna.Study, how: How) -> optuna.Trial | None:
    """Return the next candidate, after waiting for others if need be; None when there is nothing left to do."""
    while True:
        retry_lost(study)
        trials = study.get_trials(deepcopy=False)
        under_way = active(trials)
        waiting = any(trial.state == TrialState.WAITING for trial in under_way)
        origins = {origin(trial) for trial in (*finished(trials), *under_way)}
        enough = len(origins) >= how.trials or len(trials) >= _MOST_CANDIDATES * how.trials
        if waiting or not enough:
            with experimental():
                return study.ask()
        if not under_way:
            return None
        time.sleep(_WAIT_S)


def _evaluate(
    trial: optuna.Trial,
    problem: Problem,
    place: Place,
    how: How,
    store: Store,
    failures: list[KpufitError],
    patience_s: float,
) -> list[KpufitError]:
    """Evaluate a candidate and tell the study what it came to; return the failures in a row up to now."""
    study, first = trial.study, [trial]

    def candidate() -> Sequence[float]:
        # Made anew after an outage: what was asked for before is what the database has of it.
        now = first.pop() if first else optuna.Trial(study, trial._trial_id)
        return _candidate(now, problem, place, how, store)

    def tell(state: TrialState, values: Sequence[float] | None = None, noted: Params | None = None) -> None:
        def act() -> None:
            for name, value in (noted or {}).items():
                trial.set_user_attr(name, value)
            study.tell(trial, values, state, skip_if_finished=True)

        patiently(place, act, patience_s)

    try:
        tell(TrialState.COMPLETE, patiently(place, candidate, patience_s))
        return []
    except _RejectedError:
        tell(TrialState.PRUNED)
        return failures
    except optuna.TrialPruned:
        tell(TrialState.PRUNED)
        return []
    except _SurplusError:
        tell(TrialState.FAIL, noted={SURPLUS: True})
        return failures
    except (StorageError, UpdateFinishedTrialError):
        raise
    except KpufitError as error:
        tell(TrialState.FAIL, noted={ERROR: str(error)[:_LONGEST_ATTRIBUTE]})
        return [*failures, error]
    except Exception as error:  # ours: shown with its traceback, but the next worker goes on with another candidate
        tell(TrialState.FAIL, noted={ERROR: repr(error)[:_LONGEST_ATTRIBUTE]})
        raise


def _hand_back(trial: optuna.Trial, place: Place) -> None:
    """Give the candidate under way back, so that the next worker need not wait until it counts as dead."""

    def act() -> None:
        trial.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        retry_lost(trial.study)

    with contextlib.suppress(DatabaseError):
        patiently(place, act, _STOPPING_S)


def _candidate(trial: optuna.Trial, problem: Problem, place: Place, how: How, store: Store) -> Sequence[float]:
    """Return a candidate's objectives; raises TrialPruned where it does not fit or is not worth the next rung."""
    _check_wanted(trial, how)
    settings = settings_of(suggest(trial, problem.space), problem.space)
    if how.sized:
        started = time.perf_counter()
        sized = size(problem, settings)
        trial.set_user_attr("sizing_s", round(time.perf_counter() - started, 4))
        trial.set_user_attr("predicted_bytes", sized.facts.kmodel_bytes)
        _constrain(trial, sized.over)
        if not sized.fits:
            raise _RejectedError
    measured = _lift(trial, problem, settings, place, how)
    over = hold_against(problem, measured.facts).over  # should the prediction ever be wrong
    _constrain(trial, {f"{name}, compiled": value for name, value in over.items() if value > 0 or not how.sized})
    _check_wanted(trial, how)
    facts = {name: getattr(measured.facts, name) for name in ("kmodel_bytes", "heap_bytes", "kpu_bytes", "latency_ms")}
    kept = keep(measured.kmodel, trial, store)
    for name, value in {"kmodel": kept, "accuracy": measured.accuracy, **facts}.items():
        trial.set_user_attr(name, value)
    return objectives_of(problem, measured)


def _constrain(trial: optuna.Trial, over: Mapping[str, float]) -> None:
    """Tell the sampler; what was told before an outage stays, as it is the same."""
    known = trial.constraints
    for name, value in over.items():
        if name not in known:
            trial.set_constraint(name, value)


def _check_wanted(trial: optuna.Trial, how: How) -> None:
    trials = trial.study.get_trials(deepcopy=False)
    if is_surplus(trials[trial.number], trials, how.trials):
        raise _SurplusError


def _lift(trial: optuna.Trial, problem: Problem, settings: Settings, place: Place, how: How) -> Measured:
    """Evaluate a candidate rung by rung; raises TrialPruned where it is not worth the next.

    One that was set, to span the front, begins at the last: it would be let through, whatever it came to below.
    """
    for rung in range(how.rungs - 1 if was_set(trial) else 0, how.rungs):
        last = rung == how.rungs - 1
        if rung:
            _check_wanted(trial, how)
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
