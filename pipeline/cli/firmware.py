"""``kpufit firmware``: what a firmware loads and leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete
from pipeline.cli.options import Json
from pipeline.cli.output import console, print_json


def firmware(
    name: Annotated[
        str | None,
        typer.Argument(metavar="FIRMWARE", help="A file of configs/firmware.", autocompletion=complete.firmwares),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a firmware loads and how much memory it leaves, each figure with its source.

    Exit code 0, or 2 when there is no such firmware.

    Examples:
        kpufit firmware
        kpufit firmware maixpy-full

    """
    from pipeline.firmware.profile import load_profile, profiles
    from pipeline.report.firmware import profile_table, profiles_table

    root = Path.cwd()
    known = profiles(root) if name is None else [load_profile(name, root)]
    if as_json:
        values = [profile.model_dump(mode="json") for profile in known]
        print_json(values if name is None else values[0])
    else:
        console().print(profiles_table(known) if name is None else profile_table(known[0]))
