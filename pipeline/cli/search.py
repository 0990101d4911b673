"""``kpufit search``: the study of a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Json, RecipeName
from pipeline.cli.output import console, print_json


def search(
    recipe: RecipeName,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine; as many as it has cores unless given.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="KPUFIT_SEARCH_STORAGE",
            show_envvar=True,
            help="sqlite, or the URL of a database that machines share: postgresql://USER:PASSWORD@HOST/NAME.",
        ),
    ] = None,
    artifacts: Annotated[
        str | None, typer.Option(help="Where the kmodels of trials go: a folder, or s3://BUCKET.")
    ] = None,
    apply: Annotated[
        int | None, typer.Option(help="Write a recipe for this trial, whatever the search chose, and run nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search how to prune, replace and quantise a recipe's network: the best accuracy at every size that fits.

    Goes on where it was left, after Ctrl-C or a crash too. The same command on other machines, with the same
    --storage, shares the work. `kpufit run RECIPE` then builds what was chosen; it also searches by itself.

    Exit code 0 when the search has ended, 2 when it could not, 130 after Ctrl-C.

    Examples:
        kpufit search fashion-mnist-mini-search --workers 2
        kpufit search fashion-mnist-mini-search --apply 17

    """
    from pipeline.progress import busy
    from pipeline.stages.layout import open_run

    run = open_run(Path.cwd(), recipe)
    with busy("loading PyTorch"):
        from pipeline.report.search_table import front_table, summary_line
        from pipeline.stages.search import results
        from pipeline.stages.study import EXIT_STOPPED, open_search
        from pipeline.stages.study import search as search_recipe
        from pipeline.stages.trial_recipe import apply_trial

    if apply is not None:
        with busy(f"trial {apply}"):
            path = apply_trial(run, open_search(run, storage), apply)
        if as_json:
            print_json({"recipe": path.stem, "file": str(path), "trial": apply})
        else:
            print(
                f"{path}: settings of trial {apply}; build it with `kpufit add {path.stem}`, `kpufit run {path.stem}`"
            )
        return
    try:
        with busy(run.name):
            found = search_recipe(run, workers=workers, storage=storage, artifacts=artifacts)
    except KeyboardInterrupt:
        print("stopped; nothing is lost: the same command goes on with the study", file=sys.stderr)
        raise typer.Exit(EXIT_STOPPED) from None
    with busy(run.name):
        _, _, report = results(run, found)
    if as_json:
        print_json(report)
    else:
        console().print(front_table(report, run.name))
        print(summary_line(report, found.place.shown))
