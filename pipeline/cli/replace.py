"""``kpufit replace``: mend what the KPU cannot run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Json
from pipeline.cli.output import console, print_json
from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED


def replace(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=".onnx, .tflite, .h5 or .keras.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Training images: an .npz (x_train, perhaps y_train) or a folder."),
    ] = None,
    mean: Annotated[
        list[float] | None, typer.Option(help="Of pixels / 255, one a channel; 0 unless the file holds it.")
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option(help="Of pixels / 255, one a channel; 1 unless the file holds it.")
    ] = None,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="Accuracy that the replacements may cost.")] = 0.01,
    regression_steps: Annotated[int, typer.Option(min=0, help="Steps of regression a layer.")] = 300,
    distil_steps: Annotated[int, typer.Option(min=0, help="Steps of distillation of the whole.")] = 500,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal networks.")] = 0,
    as_json: Json = False,
) -> None:
    """Replace what the KPU cannot run, exactly where possible, learned from the network itself where not.

    Labels are not needed: they only judge, on a fifth of the images that nothing is learnt from. Without images the
    structure is made and marked unverified. Exit code 1 when a layer that nothing replaces stays on the CPU beside a
    classifier's head, does not compile or would give wrong numbers; the rest is done and written all the same.

    Examples:
        kpufit replace out/fashion-mnist-mini/train/network.onnx -o mended.onnx
        kpufit replace model.onnx -o mended.onnx --data images

    """
    from pipeline.files import write_bytes
    from pipeline.progress import busy

    with busy(f"replacing in {model.name}"):  # imports PyTorch
        from pipeline.kpu.check import check_network
        from pipeline.network.lift import to_torch
        from pipeline.network.lower import to_onnx
        from pipeline.network.user_file import contract_of, read_user_file
        from pipeline.pruning.limit import within_channels
        from pipeline.recipe import Replace
        from pipeline.replacement.kept import note_kept
        from pipeline.replacement.standalone import replace_alone
        from pipeline.training.data.loose import load_images

        given = read_user_file(model, weights=True)
        contract = contract_of(given, mean, std, where=str(model))
        settings = Replace(max_drop=max_drop, regression_steps=regression_steps, distil_steps=distil_steps)
        images = None if data is None else load_images(data, contract.image)
        network = to_torch(given, where=str(model))
        done = replace_alone(
            network, contract, images, settings, seed=seed, narrow=lambda *wide: within_channels(*wide).network
        )
        made = to_onnx(done.replaced.network, done.replaced.contract)
        note_kept(made, done.replaced.report.layers)
        checked = check_network(made, where=str(output))
    write_bytes(output, made.SerializeToString(deterministic=True))
    from pipeline.report.check import findings_table
    from pipeline.report.replacement import replacement_json, replacement_lines, replacement_table

    report = done.replaced.report.as_dict()
    if as_json:
        print_json(replacement_json(report, done.judged, checked, str(output)))
    else:
        screen = console()
        screen.print(replacement_table(report))
        if checked.left:
            screen.print(findings_table(dataclasses.replace(checked, findings=checked.left)))
        print("\n".join(replacement_lines(report, done.judged, checked, str(output))))
    clean = checked.prediction.compiles and not checked.violations and done.replaced.report.accepted
    raise typer.Exit(EXIT_ACCEPTED if clean else EXIT_REJECTED)
