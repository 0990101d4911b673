"""Progress for work over two seconds: shown on a terminal, silent elsewhere, always on stderr.

What is shown inside of something else appears below it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: The terminal of a run whose stages write into DVC's pipe, so that they can show their bars there all the same.
TERMINAL = "KPUFIT_TERMINAL"

T = TypeVar("T")

_TITLE = TextColumn("{task.description}", markup=False)


def track(items: Iterable[T], title: str, *, total: int | None = None) -> Iterator[T]:
    """Yield ``items``, drawing a bar with ``title`` on stderr when that is a terminal, or on the run's terminal."""
    size = total if total is not None else (len(items) if isinstance(items, Sized) else None)
    with display(_TITLE, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        yield from progress.track(items, description=title, total=size)


@contextmanager
def busy(title: str) -> Iterator[None]:
    """Show ``title`` and the time that it takes, where nobody knows how long that will be; where ``track`` draws."""
    with display(SpinnerColumn(), _TITLE, TimeElapsedColumn()) as progress:
        progress.add_task(title, total=None)
        yield


@contextmanager
def display(*columns: ProgressColumn) -> Iterator[Progress]:
    """Yield a display of ``columns`` that is gone in the end; one that draws nothing where there is no terminal."""
    console = _screen()
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what is printed meanwhile goes above, but never out of a pipe or file
    ) as progress:
        yield progress


def terminal_of_stderr() -> dict[str, str]:
    """Return the variable that tells children which terminal stderr is; nothing where it is none."""
    return {TERMINAL: os.ttyname(2)} if os.isatty(2) else {}


def _screen() -> Console:
    named = os.environ.get(TERMINAL)
    if not named or os.isatty(2) or not os.access(named, os.W_OK):
        return _stderr()
    return _terminal(named)


@cache  # displays know of each other by their console
def _stderr() -> Console:
    return Console(stderr=True)


@cache
def _terminal(name: str) -> Console:
    return Console(file=Path(name).open("w"))  # for as long as the process lives
