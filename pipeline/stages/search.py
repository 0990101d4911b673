"""search: the settings of prune, replace and quantise that the later stages run with."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import yaml
from optuna.distributions import distribution_to_json

from pipeline.errors import ToolError
from pipeline.search.front import choose, count, front_of, point_json, points_of
from pipeline.search.history import history
from pipeline.search.importance import importances
from pipeline.search.sensitivity import SHARES
from pipeline.search.space import Settings, settings_of
from pipeline.search.study import storage_errors
from pipeline.stages.layout import Chosen, Run
from pipeline.stages.study import Searched, search, search_of


def run(run: Run) -> int:
    """Write ``chosen.yaml``: what the study found best, or the recipe's own settings where none was asked for.

    Raises:
        StorageError: the study's database cannot be used.
        RecipeError: nothing fits the firmware.
        ToolError: a worker failed, or no candidate came to a full evaluation.
    """
    recipe = run.recipe
    if recipe.search is None:
        _write(
            run, Settings(recipe.prune, recipe.replace, recipe.quantise), {"trials": 0}, {"chosen_from": "the recipe"}
        )
        return 0
    found = search(run)
    _write(run, *results(run, found))
    return 0


def results(run: Run, found: Searched) -> tuple[Settings, dict[str, float | int], dict[str, Any]]:
    """Return the settings that a study found best, its figures, and all that the report shows of it."""
    settings = search_of(run)
    with storage_errors(found.place):
        trials, attributes = found.study.get_trials(deepcopy=False), found.study.user_attrs
        mattered = importances(found.study, settings.objectives)
    points, counts = points_of(trials), count(trials)
    if not points:
        raise ToolError(
            f"no candidate was evaluated fully ({counts.rejected} did not fit, {counts.failed} failed)",
            where=f"recipes/{run.name}.yaml: search",
            remedy="raise the budget, or see the failures in the study",
        )
    front = front_of(points, settings.objectives)
    chosen = choose(points, settings.min_accuracy, len(found.problem.data.validation))
    metrics: dict[str, float | int] = {
        "trials": counts.evaluated,
        "rejected": counts.rejected,
        "stopped": counts.stopped,
        "failed": counts.failed,
        "validation_accuracy": chosen.accuracy,
        "kmodel_bytes": chosen.kmodel_bytes,
    }
    report = {
        "chosen_from": f"trial {chosen.number} of the study {found.place.name}",
        "chosen": chosen.number,
        "min_accuracy": settings.min_accuracy,
        "objectives": list(settings.objectives),
        "budget_bytes": found.problem.budget,
        "counts": asdict(counts),
        "front": [point.number for point in front],
        "points": [point_json(point) for point in points],
        "chance": 1 / len(run.recipe.data.labels),
        "sensitivity": attributes.get("sensitivity", {}),
        "sensitivity_shares": list(SHARES),
        "importances": mattered,
        "space": {
            name: json.loads(distribution_to_json(each))["attributes"]
            for name, each in found.problem.space.dimensions.items()
        },
        "trials": history(trials),
    }
    return settings_of(chosen.params, found.problem.space), metrics, report


def _write(run: Run, chosen: Settings, metrics: dict[str, float | int], report: dict[str, Any]) -> None:
    values = Chosen(prune=chosen.prune, replace=chosen.replace, quantise=chosen.quantise).model_dump(mode="json")
    run.write_results(
        "search", files={"chosen.yaml": yaml.safe_dump(values, sort_keys=False)}, metrics=metrics, report=report
    )
