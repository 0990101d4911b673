"""The bar of a search: how many candidates are done, how many were turned away, and the best so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from pipeline.progress import display
from pipeline.recipe import Search
from pipeline.search.front import choose, count, points_of
from pipeline.search.study import DatabaseError, Place, storage_errors


@contextmanager
def search_bar(study: optuna.Study, place: Place, settings: Search, images: int) -> Iterator[Callable[[], None]]:
    """Yield what draws the bar anew from the study; only on a terminal."""
    columns = TextColumn("search"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with display(*columns, TextColumn("{task.description}")) as progress:
        task = progress.add_task("", total=settings.trials)

        def draw() -> None:
            if progress.disable:
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
