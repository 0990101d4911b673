"""``kpufit nightly``: the listed recipes against what they were, for a job that nobody watches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete
from pipeline.cli.options import Json
from pipeline.cli.output import console, print_json


def nightly(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="Names or globs of recipes of params.yaml; all of them if none.",
            autocompletion=complete.recipes,
        ),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going/--stop-at-first", help="Whether the others run after one that failed or got worse."),
    ] = True,
    max_minutes: Annotated[
        float, typer.Option(min=0.01, help="Time limit of a recipe that has no `nightly: {max_minutes: …}`.")
    ] = 240.0,
    accept: Annotated[
        bool, typer.Option("--accept", help="Compare later nights with these results, also where they are worse.")
    ] = False,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="TOOL=VERSION", help="Try another nncase, torch or tensorflow, side by side."),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="KPUFIT_WEBHOOK", show_envvar=True, help="POST the result there, as JSON."),
    ] = None,
    on_result: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Run this with the result on its standard input, as JSON.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Allow recipes with `model: {source: torch}` to run their Python code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the recipes and compare each with its baseline: better, same, worse or rejected, noise taken into account.

    Only what a change touches runs again. Every result is a line of nightly/ledger.jsonl; nightly/summary.html (.md,
    .json) shows the night and the trends. Exit code 0 when nothing is worse, 1 when a result is worse or rejected, 2
    when a recipe failed or ran out of time, the result could not be sent, or another nightly is at work.

    Examples:
        kpufit nightly
        kpufit nightly --with nncase=1.8.0.20220929

    """
    from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, KpufitError
    from pipeline.nightly.command import Wanted, send
    from pipeline.nightly.command import run as run_wanted
    from pipeline.nightly.summary import reasons, summary_json, summary_table

    wanted = Wanted(
        recipes=tuple(recipes or ()),
        trial=tuple(with_ or ()),
        minutes=max_minutes,
        keep_going=keep_going,
        accept=accept,
        trust=trust,
    )
    night, folder = run_wanted(Path.cwd(), wanted)
    if as_json:
        print_json(summary_json(night))
    else:
        console().print(summary_table(night))
        print("\n".join([*reasons(night), f"page: {folder / 'summary.html'}"]))
    code = night.code
    try:
        send(summary_json(night), webhook=webhook, command=on_result)
    except KpufitError as error:
        print(f"kpufit nightly: {error}", file=sys.stderr)
        code = code if code != EXIT_ACCEPTED else EXIT_ERROR
    raise typer.Exit(code)
