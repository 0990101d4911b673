"""``kpufit bundle``: a folder for the board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli import complete
from pipeline.cli.options import Json
from pipeline.cli.output import print_json
from pipeline.errors import EXIT_REJECTED


def bundle(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE", help="Recipes that have run to the end.", autocompletion=complete.recipes),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; an earlier bundle is replaced.")],
    firmware: Annotated[
        str | None,
        typer.Option(
            "--firmware",
            "-f",
            help="A file of configs/firmware; that of the recipes by default.",
            autocompletion=complete.firmwares,
        ),
    ] = None,
    load: Annotated[
        Literal["sd", "flash", "flash-stream"] | None,
        typer.Option("--load", help="Where models are loaded from; as the recipes say by default."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Where in flash the first model goes, e.g. 0x400000.")
    ] = None,
    firmware_file: Annotated[
        Path | None, typer.Option("--firmware-file", help="The firmware's .bin, to be flashed with the models.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a folder for the board: kmodels, programs, flash package, contract, test vectors, checksums, model cards.

    Several recipes share one program, which switches between them when the board's button is pressed. A firmware that
    loads another kmodel version than the recipe's gets the network in that version, judged again.

    Exit code 1, and no folder, when a recipe was rejected or its kmodel does not fit the firmware.

    Examples:
        kpufit bundle fashion-mnist-mini -o board
        kpufit bundle fashion-mnist-mini --firmware maixpy-minimum -o mini

    """
    from pipeline.progress import busy

    start = _address(address)
    with busy(f"making {output}"):
        from pipeline.bundle.make import Rejected, make_bundle  # imports PyTorch

        made = make_bundle(
            Path.cwd(),
            recipes,
            output,
            firmware=firmware,
            load=load,
            address=start,
            firmware_file=firmware_file,
        )
    if isinstance(made, Rejected):
        if as_json:
            print_json({"accepted": False, "rejected": made.verdicts})
        else:
            print("\n".join(made.lines))
        raise typer.Exit(EXIT_REJECTED)
    if as_json:
        print_json({"accepted": True, "output": str(output), **made})
        return
    print(f"{output}: for {made['firmware']}, loaded from {made['load']}")
    for model in made["models"]:
        needs = f"{model['needed_bytes']:,} of {model['limit_bytes']:,} bytes of memory"
        file = f"kmodel v{model['kmodel_version']}, {model['kmodel_bytes']:,} bytes"
        print(f"  {model['name']}: {file}; {needs}; flash 0x{model['flash_address']:06x}")
    if made["together"]:
        print(f"  together: {made['together']['message']}; the program loads them {made['loaded']}")
    print(f"  how to bring it onto the board: {output / 'README.md'}")


def _address(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text, 0)
    except ValueError:
        raise typer.BadParameter("a number is wanted, e.g. 0x400000", param_hint="--address") from None
