"""One nightly at a time, and the second knows who is at work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import StorageError
from pipeline.files import write_text

#: As long as it may take between taking the lock and saying whose it is.
_WAIT_S = 1.0


class AtWorkError(StorageError):
    """Another nightly holds the lock."""


@contextmanager
def nightly_lock(folder: Path, since: str) -> Iterator[None]:
    """Hold the lock in ``folder``; the kernel gives it back when the process dies.

    Args:
        folder: ``nightly/``.
        since: when this night began, told to whoever comes second.

    Raises:
        AtWorkError: another nightly holds it; names its process.
        StorageError: the folder cannot be written.
    """
    holder = folder / "running.json"
    write_text(folder / ".gitignore", "*\n!/ledger.jsonl\n!/.gitignore\n")
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=_WAIT_S)
    except Timeout as error:
        raise AtWorkError(
            f"another nightly is at work ({_who(holder)})",
            where=str(folder),
            remedy="wait for it to end, or stop that process",
        ) from error
    try:
        write_text(holder, json.dumps({"pid": os.getpid(), "since": since}) + "\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        told = json.loads(holder.read_text())
        return f"process {told['pid']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process is not known"
