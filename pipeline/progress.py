"""Progress bars for work over two seconds: shown on a terminal, silent elsewhere, always on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: The terminal of a run whose stages write into DVC's pipe, so that they can show their bars there all the same.
TERMINAL = "KPUFIT_TERMINAL"

T = TypeVar("T")


def track(items: Iterable[T], title: str, *, total: int | None = None) -> Iterator[T]:
    """Yield ``items``, drawing a bar with ``title`` on stderr when that is a terminal, or on the run's terminal."""
    size = total if total is not None else (len(items) if isinstance(items, Sized) else None)
    with (
        _screen() as console,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        ) as progress,
    ):
        yield from progress.track(items, description=title, total=size)


def terminal_of_stderr() -> dict[str, str]:
    """Return the variable that tells children which terminal stderr is; nothing where it is none."""
    return {TERMINAL: os.ttyname(2)} if sys.stderr.isatty() else {}


@contextmanager
def _screen() -> Iterator[Console]:
    named = os.environ.get(TERMINAL)
    if not named or sys.stderr.isatty() or not os.access(named, os.W_OK):
        yield Console(stderr=True)
        return
    with Path(named).open("w") as terminal:
        yield Console(file=terminal)
