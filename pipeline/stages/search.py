"""search: the settings of prune, replace and quantise that the later stages run with."""

from __future__ import annotations

import yaml

from pipeline.errors import RecipeError
from pipeline.stages.layout import Chosen, Run


def run(run: Run) -> int:
    """Write ``chosen.yaml``: the recipe's own settings, as no study was asked for.

    Raises:
        RecipeError: the recipe asks for a study, which this version cannot run.

    """
    recipe = run.recipe
    if recipe.search is not None:
        raise RecipeError(
            "this version of kpufit cannot search",
            where=f"recipes/{run.name}.yaml: search",
            remedy="write `search: null`",
        )
    chosen = Chosen(prune=recipe.prune, replace=recipe.replace, quantise=recipe.quantise)
    run.write_results(
        "search",
        files={"chosen.yaml": yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False)},
        metrics={"trials": 0},
        report={"chosen_from": "the recipe"},
    )
    return 0
