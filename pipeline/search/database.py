"""Optuna's database, with what it would not notice: workers dead before their first heartbeat, damaged files."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel, TrialModel
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

_BUSY_S = 60.0


class Database(RDBStorage):
    """Optuna's RDB storage, but that a heartbeat survives an outage, and that no trial is RUNNING for ever.

    Optuna's heartbeat thread ends when the database is away for a moment, and its search for stale trials passes over
    those that have no heartbeat at all: a worker killed while the sampler was at work leaves such a one.
    """

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial's worker is alive; if the database is away, the next one will say so."""
        with contextlib.suppress(StorageInternalError, SQLAlchemyError):
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Return the trials whose worker is dead; one that never had a heartbeat gets its first, to be judged later."""
        with Session(self.engine) as session:
            unheard = [
                trial_id
                for (trial_id,) in session.query(TrialModel.trial_id)
                .filter(TrialModel.study_id == study_id, TrialModel.state == TrialState.RUNNING)
                .filter(~TrialModel.heartbeats.any())
            ]
        for trial_id in unheard:
            self.record_heartbeat(trial_id)
        return super()._get_stale_trial_ids(study_id)


def damage_of(path: Path) -> str | None:
    """Return what is wrong with a study's SQLite file before Optuna writes to it; None where it is whole or not there.

    An empty file is what a kill at the very beginning leaves, and whole, unless candidates were evaluated already.
    What a killed writer left half done is rolled back, as SQLite does whenever it opens a file.

    Raises:
        sqlite3.Error: it cannot be opened, or SQLite says so itself.
    """
    if not path.exists():
        return None
    if path.stat().st_size == 0:
        evaluated = any((path.parent / "cache").glob("*/*"))
        return "it is empty, but candidates were evaluated" if evaluated else None
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not tables & set(BaseModel.metadata.tables):
            return "it is the database of something else"
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        return None if found == "ok" else str(found).replace("\n", " ")
