"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A name in recipes/, or the path of a YAML file.", autocompletion=complete.recipes
    ),
]
Firmware = Annotated[
    str | None,
    typer.Option(
        "--firmware", "-f", help="A file of configs/firmware, or all.", autocompletion=complete.firmwares_or_all
    ),
]
Load = Annotated[str, typer.Option(help="sd, flash or flash-stream.")]
Camera = Annotated[str, typer.Option(help="none, qqvga, qvga or vga.")]
Lcd = Annotated[bool, typer.Option(help="Whether an LCD buffer is held.")]
DualBuffer = Annotated[bool, typer.Option(help="Whether the camera has two buffers.")]
GcHeap = Annotated[int | None, typer.Option(help="MicroPython's heap in bytes.")]
ModelBytes = Annotated[int | None, typer.Option(help="A budget tighter than the firmware's.")]
KmodelFile = Annotated[Path, typer.Argument(metavar="FILE.kmodel", help="Any kmodel, also one that another tool made.")]
