"""The study in Optuna's storage: opened, named, its errors told apart, and nothing lost when a worker dies."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.errors import StorageError
from pipeline.files import make_folder
from pipeline.search.database import Database, damage_of
from pipeline.search.space import Params, Space

T = TypeVar("T")

GRACE_S = 30
"""A worker counts as dead after so long without a heartbeat: for some of it, compiling machine code (Numba's) may hold
the interpreter. ``KPUFIT_SEARCH_GRACE_S`` sets another, the same for all workers of a study."""
_GRACE = "KPUFIT_SEARCH_GRACE_S"
_BEATS = 6  # in that time

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
OPENING_S = 10.0
"""For how long a database may be away when a search starts: an address that is wrong should be said soon."""

_DAMAGED = ("malformed", "not a database", "no such table", "no such column", "disk image")
_FULL = ("disk is full", "No space left", "disk I/O error", "readonly database", "unable to open database file")
_REFUSED = ("authentication failed", "no password supplied", "does not exist", "permission denied", "NoSuchModule")
"""What SQLite's and PostgreSQL's messages say then."""

_MOST_DEATHS = 3
"""Of workers at one candidate: what crashes or takes all memory each time would be tried again for ever."""
_DEATHS = "deaths"

ERROR, SURPLUS = "error", "surplus"
"""User attributes of trials that failed for good: what went wrong; that enough others were under way."""

_DIRECTIONS = {"accuracy": StudyDirection.MAXIMIZE}


class DatabaseError(StorageError):
    """The study's database cannot be reached, is damaged or cannot be written.

    Attributes:
        lasting: whether waiting is no use.
    """

    def __init__(self, what: str, *, where: str, remedy: str, lasting: bool) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.lasting = lasting


@dataclass(frozen=True)
class Place:
    """Where a study is kept.

    Attributes:
        url: of the database.
        name: of the study in it.
        folder: on this machine, for what need not be shared: results of steps, kmodels.
    """

    url: str
    name: str
    folder: Path

    @property
    def shown(self) -> str:
        """The URL without its password."""
        try:
            return sqlalchemy.make_url(self.url).render_as_string(hide_password=True)
        except sqlalchemy.exc.ArgumentError:
            return "the storage's URL"

    @property
    def file(self) -> Path | None:
        """SQLite's file."""
        found = sqlalchemy.make_url(self.url)
        return Path(str(found.database)) if found.get_backend_name() == "sqlite" else None


@contextmanager
def experimental() -> Iterator[None]:
    """Use what Optuna calls experimental: grouped spaces (2.8 and later) and heartbeats (2.9 and later)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")  # see ``at_work``
        yield


def sampler_of(seed: int) -> optuna.samplers.BaseSampler:
    """Return the sampler: multivariate TPE, which knows several objectives and constraints."""
    with experimental():
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)


def place_of(root: Path, recipe: str, identity: str, storage: str) -> Place:
    """Return where the study of a recipe is kept: under ``studies/``, by name and hash, or in a database to share.

    Raises:
        StorageError: ``storage`` is neither ``sqlite`` nor the URL of a database.
    """
    name = f"{recipe}-{identity[:12]}"
    folder = root / "studies" / name
    if storage == "sqlite":
        return Place(f"sqlite:///{folder / 'study.db'}", name, folder)
    try:
        url = sqlalchemy.make_url(storage)
    except sqlalchemy.exc.ArgumentError as error:
        raise StorageError(
            "is not the URL of a database",
            where="search.storage",
            remedy="write sqlite, or postgresql://USER:PASSWORD@HOST/DATABASE",
        ) from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return Place(url.render_as_string(hide_password=False), name, folder)


def open_study(
    place: Place,
    objectives: Sequence[str],
    sampler: optuna.samplers.BaseSampler,
    *,
    patience_s: float = OPENING_S,
) -> optuna.Study:
    """Open a study, or begin it; of several that begin at once, the later ones find it begun when they try again.

    Args:
        place: where it is kept.
        objectives: as the recipe names them.
        sampler: of candidates.
        patience_s: for how long the database may be away.

    Raises:
        DatabaseError: the database cannot be reached, or its file is damaged, and was not changed.
        StorageError: the folder cannot be made.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    return patiently(place, lambda: _open(place, objectives, sampler), patience_s)


def _open(place: Place, objectives: Sequence[str], sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    if place.file is not None:
        make_folder(place.file.parent)
        damage = damage_of(place.file)
        if damage is not None:
            raise _damaged(place, damage)
    grace = max(int(os.environ.get(_GRACE, GRACE_S)), 2)
    # A network that is gone without a word would else be noticed after a quarter of an hour.
    wait = {"timeout": 60} if place.file is not None else {"connect_timeout": 10, "tcp_user_timeout": 60_000}
    with experimental():
        storage = Database(
            place.url,
            engine_kwargs={"connect_args": wait, "pool_pre_ping": True},
            heartbeat_interval=max(grace // _BEATS, 1),
            grace_period=grace,
            heartbeat_stale_trial_callback=_after_death,
        )
        return optuna.create_study(
            study_name=place.name,
            storage=storage,
            sampler=sampler,
            directions=[_DIRECTIONS.get(name, StudyDirection.MINIMIZE) for name in objectives],
            load_if_exists=True,
        )


@contextmanager
def storage_errors(place: Place) -> Iterator[None]:
    """Tell errors of the database as DatabaseError, with what to do; others pass.

    Raises:
        DatabaseError: the database cannot be reached, is damaged or full.
    """
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise _database_error(place, _deepest(error)) from error


def patiently(place: Place, act: Callable[[], T], patience_s: float) -> T:
    """Return what ``act`` gives; while the database is away, wait, ever longer, and try again.

    Args:
        place: the database.
        act: may be done again after any part of it.
        patience_s: for how long it may be away.

    Raises:
        DatabaseError: it stays away, or waiting is no use.
    """
    pause, away_since = _FIRST_PAUSE_S, None
    while True:
        started = time.monotonic()
        try:
            with storage_errors(place):
                return act()
        except DatabaseError as error:
            now = time.monotonic()
            if away_since is None or now - started > patience_s:  # between two outages it was there
                pause, away_since = _FIRST_PAUSE_S, now
            if error.lasting or now + pause > away_since + patience_s:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _deepest(error: BaseException) -> str:
    """The message of what was raised first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", None) or error).strip()


def _database_error(place: Place, text: str) -> DatabaseError:
    first = text.splitlines()[0] if text else "no message"
    if any(sign in text for sign in _DAMAGED):
        return _damaged(place, first)
    if any(sign in text for sign in _FULL):
        return DatabaseError(
            f"cannot be written ({first}); every trial that ended is kept",
            where=place.shown,
            remedy="free space there; the same command goes on with the study",
            lasting=True,
        )
    if any(sign in text for sign in _REFUSED):
        return DatabaseError(
            f"cannot be used ({first})",
            where=place.shown,
            remedy="see user, password and name of the database; PGPASSWORD or ~/.pgpass can hold the password",
            lasting=True,
        )
    return DatabaseError(
        f"cannot be used ({first})",
        where=place.shown,
        remedy="see that the database runs and can be reached; the same command goes on with the study",
        lasting=False,
    )


def _damaged(place: Place, what: str) -> DatabaseError:
    return DatabaseError(
        f"is damaged ({what})",
        where=place.shown,
        remedy="put a copy of the file back, or move it away: the search then begins anew, and reuses the results "
        f"of steps that are kept in {place.folder / 'cache'}",
        lasting=True,
    )


def origin(trial: FrozenTrial) -> int:
    """Return the number of the trial that this one repeats, its own if it repeats none."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def was_set(trial: optuna.Trial) -> bool:
    """Return whether a candidate was enqueued, or repeats one that was, rather than asked of the sampler."""
    return "fixed_params" in trial.study.get_trials(deepcopy=False)[trial.number].system_attrs


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the candidates evaluated fully, each once."""
    first: dict[int, FrozenTrial] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values()):
            first.setdefault(origin(trial), trial)
    return list(first.values())


def active(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return what may still come to a full evaluation: under way, or waiting."""
    return [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]


def is_surplus(trial: FrozenTrial, trials: Sequence[FrozenTrial], wanted: int) -> bool:
    """Return whether enough others are done, or under way and before it, or one of them is this one again.

    Machines that begin a study at the same time both enqueue its first candidates: the second of two equal ones goes.
    Every worker answers alike, whoever asks first: order is by number.
    """
    mine = (origin(trial), trial.number)
    earlier = [other for other in active(trials) if (origin(other), other.number) < mine]
    ahead = {origin(other) for other in (*finished(trials), *earlier)}
    return origin(trial) in ahead or len(ahead) >= wanted or _was_set_before(trial, trials)


def _was_set_before(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    point = trial.system_attrs.get("fixed_params")
    earlier = [other for other in trials if origin(other) < origin(trial) and other.state != TrialState.FAIL]
    return point is not None and any(other.system_attrs.get("fixed_params") == point for other in earlier)


@contextmanager
def at_work(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Tell the others that this trial's worker is alive."""
    with get_heartbeat_thread(trial._trial_id, study._storage):
        yield


def retry_lost(study: optuna.Study) -> None:
    """Enqueue again what failed without a reason and was not repeated: its worker is dead."""
    with experimental():
        optuna.storages.fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    repeated = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    for trial in trials:
        lost = trial.state == TrialState.FAIL and not {ERROR, SURPLUS} & set(trial.user_attrs)
        if lost and trial.number not in repeated:  # the worker that found it dead died itself before it said so
            give_back(study, trial)


def give_back(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue a trial again, as Optuna's RetryHeartbeatStaleTrialCallback does, but with nothing of what was measured.

    What it came to before would count for the next, which may be stopped where that one went on.
    """
    _repeat(study, trial, trial.system_attrs.get(_DEATHS, 0))


def _after_death(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue a trial again whose worker is dead; after as many deaths as may be, have it fail for good."""
    _repeat(study, trial, trial.system_attrs.get(_DEATHS, 0) + 1)


def _repeat(study: optuna.Study, trial: FrozenTrial, deaths: int) -> None:
    known = {name: value for name, value in trial.system_attrs.items() if name == "fixed_params"}
    history = [*trial.system_attrs.get("retry_history", ()), trial.number]
    hopeless = deaths >= _MOST_DEATHS
    error = f"its worker died {deaths} times: it crashed, ran out of memory or was killed"
    study.add_trial(  # Optuna lets nobody write into the one that has failed
        create_trial(
            state=TrialState.FAIL if hopeless else TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={ERROR: error} if hopeless else {},
            system_attrs={**known, "failed_trial": origin(trial), "retry_history": history, _DEATHS: deaths},
        )
    )


def enqueue(study: optuna.Study, points: Sequence[Params], space: Space) -> None:
    """Put candidates before all others, each once."""
    for point in points:
        known = {name: value for name, value in point.items() if name in space.dimensions}
        study.enqueue_trial(known, skip_if_exists=True)
