"""``kpufit gate``: does a kmodel load?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import complete
from pipeline.cli.kmodel_file import read_bytes
from pipeline.cli.options import Camera, DualBuffer, GcHeap, Json, Lcd, Load, ModelBytes
from pipeline.cli.output import print_json
from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED


def gate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.kmodel", help="One kmodel, or several.")],
    firmware: Annotated[
        str, typer.Option("--firmware", "-f", help="A file of configs/firmware.", autocompletion=complete.firmwares)
    ],
    load: Load = "sd",
    camera: Camera = "qvga",
    lcd: Lcd = True,
    dual_buffer: DualBuffer = False,
    gc_heap: GcHeap = None,
    model_bytes: ModelBytes = None,
    as_json: Json = False,
) -> None:
    """Judge kmodels against a firmware: version, memory, KPU limits. Several: each by itself, and all loaded together.

    Exit code 0 when every one fits by itself and, of several, all fit together; 1 when not.

    Examples:
        kpufit gate out/fashion-mnist-mini/convert/network.kmodel --firmware maixpy-full
        kpufit gate faces.kmodel digits.kmodel --firmware canmv --load flash

    """
    from pipeline.firmware.facts import facts_of
    from pipeline.firmware.gate import judge, judge_together
    from pipeline.firmware.profile import load_profile, profiles
    from pipeline.kmodel.read import read
    from pipeline.recipe import Gate, Target, parse

    root = Path.cwd()
    profile, known = load_profile(firmware, root), profiles(root)
    values = {"firmware": firmware, "load": load, "camera": camera, "lcd": lcd, "dual_buffer": dual_buffer,
              "gc_heap": gc_heap, "model_bytes": model_bytes}  # fmt: skip
    target = parse(Target, values, where="options of kpufit gate")
    facts = [facts_of(read(read_bytes(file), where=str(file))) for file in files]
    verdicts = {str(file): judge(each, profile, target, Gate(max_drop=1.0), others=known)
                for file, each in zip(files, facts, strict=True)}  # fmt: skip
    together = judge_together(facts, profile, target) if len(files) > 1 else None
    one_at_a_time = all(verdict.accepted for verdict in verdicts.values())
    accepted = one_at_a_time and (together is None or together.ok)
    if as_json:
        judged = {name: verdict.to_json() for name, verdict in verdicts.items()}
        print_json({"accepted": accepted, "files": judged, "one_at_a_time": one_at_a_time,
                     "together": together.to_json() if together else None})  # fmt: skip
    else:
        from pipeline.report.verdict import verdict_lines

        for name, verdict in verdicts.items():
            print(f"{name}: {'accepted' if verdict.accepted else 'rejected'} for {firmware}")
            print("\n".join(verdict_lines(verdict.checks)))
        if together is not None:
            print(f"one at a time (unload before the next is loaded): {'fit' if one_at_a_time else 'do not fit'}")
            print(f"together (switch without loading): {'fit' if together.ok else 'do not fit'}")
            print("\n".join(verdict_lines([together])))
    raise typer.Exit(EXIT_ACCEPTED if accepted else EXIT_REJECTED)
