"""``kpufit run`` and ``kpufit summary``: the pipeline, and the table of what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete
from pipeline.cli.options import Json
from pipeline.cli.output import console, print_json
from pipeline.errors import EXIT_ERROR


def run(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="Recipes of params.yaml; all of them if none is given.",
            autocompletion=complete.recipes,
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Allow recipes with `model: {source: torch}` to run their Python code.")
    ] = False,
    until: Annotated[
        str, typer.Option(metavar="STAGE", help="The last stage to run.", autocompletion=complete.stages)
    ] = "accept",
    as_json: Json = False,
) -> None:
    """Run the pipeline (`dvc repro`) and print what came of it, stage by stage.

    Only what a change touches runs again. Exit code 0 when every recipe was accepted, 1 when one was rejected.

    Examples:
        kpufit run
        kpufit run fashion-mnist-mini --until prune

    """
    from pipeline.errors import RecipeError
    from pipeline.stages.layout import STAGES
    from pipeline.stages.manifest import refresh_manifests
    from pipeline.stages.repro import listed_recipes, reproduce

    if until not in STAGES:
        raise typer.BadParameter(f"stages: {', '.join(STAGES)}", param_hint="--until")
    root = Path.cwd()
    listed = listed_recipes(root)
    names = recipes or listed
    for name in names:
        if name not in listed:
            raise RecipeError("is not listed in params.yaml", where=name, remedy=f"kpufit add {name}")
    refresh_manifests(root, names)
    code = reproduce(root, names, trust=trust, until=until)
    if code != EXIT_ERROR:
        _summarise(root, names, as_json)
    raise typer.Exit(code)


def summary(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE", help="All listed ones if none is given.", autocompletion=complete.recipes),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the result of the last run again: a row a stage, and the verdict.

    Exit code 0 whatever the verdict was; 2 when there is no such recipe.

    Examples:
        kpufit summary
        kpufit summary fashion-mnist-mini --json

    """
    from pipeline.stages.repro import listed_recipes

    root = Path.cwd()
    _summarise(root, recipes or listed_recipes(root), as_json)


def _summarise(root: Path, names: list[str], as_json: bool) -> None:
    from pipeline.report.summary import stage_rows, summary_json, summary_table
    from pipeline.stages.layout import open_run
    from pipeline.stages.results import read_results

    rows = {name: stage_rows(read_results(open_run(root, name))) for name in names}
    if as_json:
        print_json([{"recipe": name, "stages": summary_json(stages)} for name, stages in rows.items()])
        return
    screen = console()
    for name, stages in rows.items():
        screen.print(summary_table(stages, name))
