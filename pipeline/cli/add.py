"""``kpufit add``: list a recipe."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.options import Json, RecipeName
from pipeline.cli.output import print_json


def add(recipe: RecipeName, as_json: Json = False) -> None:
    """List a recipe in params.yaml, so that `dvc repro` and `kpufit run` build it.

    Exit code 0 when it is listed, 2 when there is no such recipe or its data is missing.

    Examples:
        cp recipes/fashion-mnist-mini.yaml recipes/mine.yaml && kpufit add mine && kpufit run mine

    """
    from pipeline.recipe import recipe_path
    from pipeline.stages.repro import add_recipe

    root = Path.cwd()
    name = recipe_path(root, recipe).stem
    added = add_recipe(root, recipe)
    if as_json:
        print_json({"recipe": name, "added": added})
    else:
        print(f"{name}: {'added to' if added else 'already in'} params.yaml; run it with `kpufit run {name}`")
