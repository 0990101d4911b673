"""``kpufit data``: fetch a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete
from pipeline.cli.options import Json
from pipeline.cli.output import print_json


def data(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="fashion-mnist or cifar-10.", autocompletion=complete.data_sets)
    ],
    as_json: Json = False,
) -> None:
    """Fetch a data set into data/cache: checksummed, resumable, from the first source that answers.

    Exit code 0 when it is there, 2 when no source gave it.

    Examples:
        kpufit data cifar-10

    """
    from pipeline.training.data.fetch import fetch

    folder = fetch(name, Path.cwd())
    if as_json:
        print_json({"data": name, "folder": str(folder)})
    else:
        print(f"{name}: complete and checked in {folder}")
