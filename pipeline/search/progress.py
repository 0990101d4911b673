"""The bar of a search: how many candidates are done, how many were turned away, and the best so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.recipe import Search
from pipeline.search.front import choose, count, points_of
from pipeline.search.study import DatabaseError, Place, storage_errors


@contextmanager
def search_bar(study: optuna.Study, place: Place, settings: Search, images: int) -> Iterator[Callable[[], None]]:
    """Yield what draws the bar anew from the study; on stderr, and only on a terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("search"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=settings.trials)

        def draw() -> None:
            if not console.is_terminal:
                return
            try:
                with storage_errors(place):
                    found = study.get_trials(deepcopy=False)
            except DatabaseError:
                return  # the workers wait for it, and say so in the end
            points, counts = points_of(found), count(found)
            best = choose(points, settings.min_accuracy, images) if points else None
            text = f"best {best.accuracy:.2%} at {best.kmodel_bytes:,} bytes; " if best else ""
            text += f"{counts.rejected} did not fit, {counts.stopped} stopped early"
            progress.update(task, completed=counts.evaluated, description=text)

        yield draw
