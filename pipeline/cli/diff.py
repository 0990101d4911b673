"""``kpufit diff``: what changed between two kmodels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.kmodel_file import read_bytes
from pipeline.cli.options import Json
from pipeline.cli.output import print_json
from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED


def diff(
    before: Annotated[Path, typer.Argument(metavar="A.kmodel", help="The one before.")],
    after: Annotated[Path, typer.Argument(metavar="B.kmodel", help="The one after.")],
    as_json: Json = False,
) -> None:
    """Tell two kmodels apart: version, layers, bytes by purpose, memory, quantisation.

    Bits that mean nothing, which nncase leaves uninitialised, are not compared. Exit code 0 when they are equal, 1
    when they differ.

    Examples:
        kpufit diff out/fashion-mnist-mini/convert/nncase.kmodel out/fashion-mnist-mini/convert/network.kmodel

    """
    from pipeline.kmodel.compare import compare_layers
    from pipeline.kmodel.read import read

    contents = [read_bytes(path) for path in (before, after)]
    old, new = (read(content, where=str(path)) for content, path in zip(contents, (before, after), strict=True))
    totals = [
        {"version": kmodel.version, "kmodel bytes": len(content), "heap bytes": kmodel.heap_bytes,
         "kpu bytes": kmodel.kpu_bytes, "layers": len(kmodel.steps),
         **{f"bytes of {name.replace('_', ' ')}": size for name, size in asdict(kmodel.sizes).items()}}
        for kmodel, content in zip((old, new), contents, strict=True)
    ]  # fmt: skip
    changed = {name: [value, totals[1][name]] for name, value in totals[0].items() if value != totals[1][name]}
    layers = compare_layers(old, new)
    equal = not changed and not layers
    if as_json:
        print_json({"identical": contents[0] == contents[1], "equal": equal, "changed": changed,
                    "layers": [asdict(layer) for layer in layers]})  # fmt: skip
    else:
        for name, (value, now) in changed.items():
            print(f"{name}: {value:,} → {now:,}{'' if name == 'version' else f' ({now - value:+,})'}")
        for layer in layers:
            print(f"{layer.kind} {layer.name}")
            print("\n".join(f"    {sentence}" for sentence in layer.what))
        if equal:
            print("equal" if contents[0] == contents[1] else "equal but for bits that mean nothing")
    raise typer.Exit(EXIT_ACCEPTED if equal else EXIT_REJECTED)
