"""``kpufit check``: what nncase will make of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Camera, DualBuffer, Firmware, GcHeap, Json, Lcd, Load, ModelBytes
from pipeline.cli.output import console, print_json
from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED


def check(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=".onnx, .tflite, .h5 or .keras.")],
    firmware: Firmware = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Judge what nncase 1.9 alone would do, without kpufit's preparation.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a page with a timeline of the memory, layer by layer.")
    ] = None,
    load: Load = "sd",
    camera: Camera = "qvga",
    lcd: Lcd = True,
    dual_buffer: DualBuffer = False,
    gc_heap: GcHeap = None,
    model_bytes: ModelBytes = None,
    as_json: Json = False,
) -> None:
    """Say before compiling what nncase 1.9 will make of a network: KPU or CPU, layer by layer, and why; bytes, time.

    Exit code 1 when numbers would be wrong, it does not compile, anything but a classifier's head runs on the CPU, or
    it is over a budget; 0 otherwise. `kpufit rules` explains every finding.

    Examples:
        kpufit check out/fashion-mnist-mini/train/network.onnx --firmware maixpy-full
        kpufit check out/fashion-mnist-mini/quantise/network.tflite --firmware all --html page.html

    """
    from pipeline.firmware.predicted import check_for, chosen_profiles
    from pipeline.network.user_file import read_user_file
    from pipeline.progress import busy
    from pipeline.recipe import Target, parse

    root = Path.cwd()
    profiles = chosen_profiles(firmware, root)
    values = {"load": load, "camera": camera, "lcd": lcd, "dual_buffer": dual_buffer, "gc_heap": gc_heap,
              "model_bytes": model_bytes}  # fmt: skip
    target = parse(Target, {"firmware": firmware or "", **values}, where="options of kpufit check")
    with busy(f"checking {model.name}"):
        answer = check_for(read_user_file(model, normal=not raw), profiles, target, root, raw=raw, where=str(model))
    if html is not None:
        from pipeline.files import write_text
        from pipeline.report.check_page import check_page

        write_text(html, check_page(answer, model.name))
    if as_json:
        from pipeline.report.check import check_json

        print_json(check_json(answer, str(model)))
    else:
        from pipeline.report.check import findings_table, layers_table, summary_lines

        screen = console()
        screen.print(layers_table(answer.checked))
        if answer.checked.findings:
            screen.print(findings_table(answer.checked))
        print("\n".join(summary_lines(answer, str(model))))
        if html is not None:
            print(f"page: {html}")
    raise typer.Exit(EXIT_ACCEPTED if answer.clean else EXIT_REJECTED)
