"""Any trial of a study as a recipe of its own."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.errors import RecipeError
from pipeline.files import write_text
from pipeline.search.front import points_of
from pipeline.search.space import settings_of
from pipeline.search.study import storage_errors
from pipeline.stages.layout import Run
from pipeline.stages.study import Searched


def apply_trial(run: Run, found: Searched, number: int) -> Path:
    """Write ``recipes/<recipe>-trial-<number>.yaml``: the recipe with the settings of a trial, and no search.

    Raises:
        RecipeError: the trial was not evaluated fully, or the file is there and says something else.
        StorageError: the study cannot be read, or the file cannot be written.
    """
    with storage_errors(found.place):
        points = {point.number: point for point in points_of(found.study.get_trials(deepcopy=False))}
    if number not in points:
        known = ", ".join(map(str, points)) or "none yet"
        raise RecipeError(
            f"trial {number} was not evaluated fully", where=found.place.name, remedy=f"trials that were: {known}"
        )
    point = points[number]
    settings = settings_of(point.params, found.problem.space)
    values = run.recipe.model_dump(mode="json") | {
        "prune": settings.prune and settings.prune.model_dump(mode="json"),
        "replace": settings.replace.model_dump(mode="json"),
        "quantise": settings.quantise.model_dump(mode="json"),
        "search": None,
    }
    path = run.root / "recipes" / f"{run.name}-trial-{number}.yaml"
    text = (
        f"# Trial {number} of the search of {run.name}: {point.accuracy:.2%} on validation images, "
        f"{point.kmodel_bytes:,} bytes.\n{yaml.safe_dump(values, sort_keys=False)}"
    )
    if path.exists() and path.read_text() != text:
        raise RecipeError("is there already, with other settings", where=str(path), remedy="move it away, or delete it")
    write_text(path, text)
    return path
