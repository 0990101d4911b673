"""Progress bars for work over two seconds: shown on a terminal, silent elsewhere, always on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def track(items: Iterable[T], title: str, *, total: int | None = None) -> Iterator[T]:
    """Yield ``items``, drawing a bar with ``title`` on stderr when that is a terminal."""
    console = Console(stderr=True)
    size = total if total is not None else (len(items) if isinstance(items, Sized) else None)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        yield from progress.track(items, description=title, total=size)
