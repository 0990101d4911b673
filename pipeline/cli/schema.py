"""``kpufit schema``: the form of a recipe."""

from __future__ import annotations

from pipeline.cli.output import print_json


def schema() -> None:
    """Print the JSON Schema of a recipe (for an editor that completes YAML).

    Exit code 0.

    Examples:
        kpufit schema > recipe.schema.json

    """
    from pipeline.recipe import Recipe

    print_json(Recipe.model_json_schema())
