"""The command line: parse, call, print. The work is in the packages, imported only by the command that needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, EXIT_REJECTED

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OFF_TERMINAL = 140

app = typer.Typer(
    name="kpufit",
    help=(
        "From a trained image network to the most accurate .kmodel that provably loads and runs on a Kendryte K210.\n\n"
        "Exit codes: 0 accepted or clean, 1 rejected or violations found, 2 bad input or a failed tool."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A name in recipes/, or the path of a YAML file.")]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _console() -> Console:
    """Standard output; off a terminal wide enough that no name is cut short, and without colour."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_OFF_TERMINAL, no_color=True)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check both environments, versions and data, and say how to mend what is missing.

    Exit code 1 when something is missing.
    """
    from pipeline.doctor import diagnose

    findings = diagnose(Path.cwd())
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.ok else "FAIL"
            print(f"{mark} {finding.name}: {finding.seen}")
            if not finding.ok:
                print(f"     remedy: {finding.remedy}")
    raise typer.Exit(EXIT_ACCEPTED if all(finding.ok for finding in findings) else EXIT_REJECTED)


@app.command()
def run(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE]...", help="Recipes of params.yaml; all of them if none is given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the pipeline (`dvc repro`) and print what came of it, stage by stage.

    Only what a change touches runs again. Exit code 0 when every recipe was accepted, 1 when one was rejected.
    """
    from pipeline.errors import RecipeError
    from pipeline.stages.manifest import refresh_manifests
    from pipeline.stages.repro import listed_recipes, reproduce

    root = Path.cwd()
    listed = listed_recipes(root)
    names = recipes or listed
    for name in names:
        if name not in listed:
            raise RecipeError("is not listed in params.yaml", where=name, remedy=f"kpufit add {name}")
    refresh_manifests(root, names)
    code = reproduce(root, names)
    if code != EXIT_ERROR:
        _summarise(root, names, as_json)
    raise typer.Exit(code)


@app.command()
def summary(
    recipes: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="All listed ones if none is given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the result of the last run again: a row a stage, and the verdict."""
    from pipeline.stages.repro import listed_recipes

    root = Path.cwd()
    _summarise(root, recipes or listed_recipes(root), as_json)


def _summarise(root: Path, names: list[str], as_json: bool) -> None:
    from pipeline.report.summary import stage_rows, summary_json, summary_table
    from pipeline.stages.layout import open_run
    from pipeline.stages.results import read_results

    rows = {name: stage_rows(read_results(open_run(root, name))) for name in names}
    if as_json:
        _print_json([{"recipe": name, "stages": summary_json(stages)} for name, stages in rows.items()])
        return
    console = _console()
    for name, stages in rows.items():
        console.print(summary_table(stages, name))


@app.command()
def add(recipe: RecipeName, as_json: Json = False) -> None:
    """List a recipe in params.yaml, so that `dvc repro` and `kpufit run` build it."""
    from pipeline.recipe import recipe_path
    from pipeline.stages.manifest import refresh_manifests
    from pipeline.stages.repro import add_recipe

    root = Path.cwd()
    name = recipe_path(root, recipe).stem
    refresh_manifests(root, [recipe])
    added = add_recipe(root, recipe)
    if as_json:
        _print_json({"recipe": name, "added": added})
    else:
        print(f"{name}: {'added to' if added else 'already in'} params.yaml; run it with `kpufit run {name}`")


@app.command()
def data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="fashion-mnist or cifar-10.")],
    as_json: Json = False,
) -> None:
    """Fetch a data set into data/cache: checksummed, resumable, from the first source that answers."""
    from pipeline.training.data.fetch import fetch

    folder = fetch(name, Path.cwd())
    if as_json:
        _print_json({"data": name, "folder": str(folder)})
    else:
        print(f"{name}: complete and checked in {folder}")


@app.command()
def firmware(
    name: Annotated[str | None, typer.Argument(metavar="[FIRMWARE]", help="A file of configs/firmware.")] = None,
    as_json: Json = False,
) -> None:
    """Print what a firmware loads and how much memory it leaves, each figure with its source."""
    from pipeline.firmware.profile import load_profile, profiles
    from pipeline.report.firmware import profile_table, profiles_table

    root = Path.cwd()
    known = profiles(root) if name is None else [load_profile(name, root)]
    if as_json:
        values = [profile.model_dump(mode="json") for profile in known]
        _print_json(values if name is None else values[0])
    else:
        _console().print(profiles_table(known) if name is None else profile_table(known[0]))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe (for an editor that completes YAML)."""
    from pipeline.recipe import Recipe

    _print_json(Recipe.model_json_schema())
