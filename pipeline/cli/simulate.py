"""``kpufit simulate``: run a kmodel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.kmodel_file import read_bytes
from pipeline.cli.options import Json, KmodelFile
from pipeline.cli.output import print_json

_IMAGES_A_STEP = 1024
"""Of the progress bar: enough for every core at a time."""


def simulate(
    file: KmodelFile,
    images: Annotated[Path, typer.Option("--input", "-i", help="uint8 N×C×H×W, a .npy file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write, N × the output's shape.")],
    as_json: Json = False,
) -> None:
    """Run a kmodel v3, v4 or v5 on images, bit for bit as nncase 1.9's Simulator says the KPU computes.

    Exit code 0 when the outputs are written, 2 when they cannot be.

    Examples:
        kpufit bundle fashion-mnist-mini -o board && cd board/fashion-mnist-mini
        kpufit simulate network.kmodel --input vectors/inputs.npy -o outputs.npy

    """
    import numpy as np

    from pipeline.errors import DataError
    from pipeline.files import replacing
    from pipeline.kmodel.read import read
    from pipeline.kpu.simulate import prepare, run_program
    from pipeline.progress import track

    try:
        values = np.load(images, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"is not a .npy file of numbers ({error})", where=str(images)) from error
    kmodel = read(read_bytes(file), where=str(file))
    program = prepare(kmodel)
    firsts = range(0, max(len(values), 1), _IMAGES_A_STEP)
    parts = [run_program(program, values[first : first + _IMAGES_A_STEP]) for first in track(firsts, "simulating")]
    outputs = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    if len(outputs) > 1:
        with replacing(output.with_suffix(".npz")) as temporary, temporary.open("wb") as stream:
            np.savez(stream, *outputs)
        output = output.with_suffix(".npz")
    else:
        with replacing(output) as temporary, temporary.open("wb") as stream:
            np.save(stream, outputs[0])
    if as_json:
        print_json({"output": str(output), "images": len(values), "shapes": [list(each.shape) for each in outputs]})
    else:
        shapes = ", ".join(f"{each.dtype} {'×'.join(map(str, each.shape))}" for each in outputs)
        print(f"{output}: {shapes}")
