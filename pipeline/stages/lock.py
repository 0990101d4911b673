"""One process at a time writes into a recipe's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import StorageError

#: A killed run's children die within milliseconds; a living one is another run, and not waited for.
_WAIT_S = 10.0


@contextmanager
def recipe_lock(root: Path, name: str) -> Iterator[None]:
    """Hold the recipe's lock; the kernel gives it back when the process dies.

    Raises:
        StorageError: another run holds it, or the folder cannot be written.

    """
    path = root / "out" / name / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path).acquire(timeout=_WAIT_S):
            yield
    except Timeout as error:
        raise StorageError(
            "another run of this recipe is at work", where=str(path), remedy="wait for it to end, or stop it"
        ) from error
