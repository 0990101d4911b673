"""``kpufit init``: a project of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete
from pipeline.cli.options import Json
from pipeline.cli.output import print_json


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if it does not exist.")] = Path(),
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Your trained network: .onnx, .tflite, .h5 or .keras.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Your labelled images: a folder a class, or an .npz (x_train, y_train)."),
    ] = None,
    firmware: Annotated[
        str | None,
        typer.Option(
            "--firmware",
            "-f",
            help="What the board runs; `kpufit firmware` lists them.",
            autocompletion=complete.firmwares,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Of the recipe; the network's file gives it by default.")
    ] = None,
    mean: Annotated[
        list[float] | None, typer.Option(help="Of pixels / 255, one a channel; 0 unless the file holds it.")
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option(help="Of pixels / 255, one a channel; 1 unless the file holds it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a project of your own, which `kpufit run` and `dvc repro` run: recipe, firmware profiles, pipeline.

    With --model, --data and --firmware it holds a recipe for your network, as far as the files say; without, the small
    Fashion-MNIST that ships with kpufit. Files that are there already are kept.

    Exit code 0 when it is made, 2 when there is a project already or a file cannot be read.

    Examples:
        kpufit init board && cd board && kpufit run
        kpufit init board --model net.onnx --data images --firmware maixpy-full --mean 0.5 --std 0.25

    """
    from pipeline.firmware.profile import load_profile
    from pipeline.progress import busy
    from pipeline.project.make import default_recipe, make_project, refuse_project

    refuse_project(folder)
    if firmware is not None:
        load_profile(firmware, folder)
    if model is None and data is None:
        recipe = default_recipe(firmware)
    else:
        if model is None or data is None or firmware is None:
            raise typer.BadParameter("--model, --data and --firmware go together")
        with busy(f"looking at {model.name} and {data}"):
            from pipeline.project.own import own_recipe  # imports PyTorch

            recipe = own_recipe(folder, name or model.stem, model, data, firmware, mean=mean, std=std)
    with busy(f"making {folder}"):
        written = make_project(folder, recipe)
    if as_json:
        print_json({"project": str(folder), "recipe": recipe.name, "files": written})
        return
    print(f"{folder}: a project with the recipe {recipe.name}")
    if model is not None:
        print(f"  read {folder / 'recipes' / recipe.name}.yaml: mean, std and the labels' order are yours to check")
    inside = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    print(f"  next: {inside}kpufit plan {recipe.name} && kpufit run")
