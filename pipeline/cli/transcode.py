"""``kpufit transcode``: one kmodel version into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.kmodel_file import read_bytes
from pipeline.cli.options import Json, KmodelFile
from pipeline.cli.output import print_json


def transcode(
    file: KmodelFile,
    to: Annotated[str, typer.Option("--to", help="v3 or v4.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    head: Annotated[
        Path | None, typer.Option(help="ONNX network whose float classifier replaces the kmodel's own head.")
    ] = None,
    max_shift: Annotated[
        int | None, typer.Option(help="Largest activation shift that the runtime knows, e.g. 20 for nncase 0.2's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Carry nncase 1.9's v5 over to v4 or v3, which MaixPy and CanMV load; refuses what those cannot hold.

    Exit code 0 when the file is written, 2 when it cannot be.

    Examples:
        cd out/fashion-mnist-mini
        kpufit transcode convert/nncase.kmodel --to v3 -o v3.kmodel --head replace/network.onnx

    """
    from pipeline.files import write_bytes
    from pipeline.kmodel.read import read
    from pipeline.kmodel.transcode import transcode as carry_over
    from pipeline.kmodel.write import write

    version, float_head = _kmodel_version(to), None
    if head is not None:
        from pipeline.network.onnx_head import onnx_head
        from pipeline.network.read import load_onnx

        float_head = onnx_head(load_onnx(head), where=str(head))
    source = read(read_bytes(file), where=str(file))
    carried = carry_over(source, version, head=float_head, max_shift=max_shift)
    content = write(carried)
    write_bytes(output, content)
    if as_json:
        print_json({"output": str(output), "version": carried.version, "kmodel_bytes": len(content),
                     "heap_bytes": carried.heap_bytes, "notes": list(carried.notes)})  # fmt: skip
        return
    print(f"{output}: kmodel v{carried.version}, {len(content):,} bytes, {carried.heap_bytes:,} bytes of main memory")
    for note in carried.notes:
        print(f"note: {note}")


def _kmodel_version(text: str) -> int:
    if text not in ("v3", "v4", "3", "4"):
        raise typer.BadParameter("allowed are v3 and v4")
    return int(text.removeprefix("v"))
