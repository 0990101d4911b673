"""From a float TFLite network to the kmodel that a firmware loads: nncase's v5, and from it v4 or v3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.compile import compile_network
from pipeline.compiler.tflite_head import tflite_head
from pipeline.kmodel.identify import NNCASE_VERSION
from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kmodel.write import write
from pipeline.network.contract import InputContract


@dataclass(frozen=True)
class Built:
    """A kmodel and where it comes from.

    Attributes:
        kmodel: the file to ship.
        v5: the file that nncase wrote; the same where the firmware loads v5.
        log: what nncase printed.
        notes: what carrying it over changed, one sentence each.
    """

    kmodel: bytes
    v5: bytes
    log: str
    notes: tuple[str, ...]


def build_kmodel(
    tflite: bytes,
    calibration: NDArray[np.uint8],
    contract: InputContract,
    version: int,
    *,
    nncase_python: Path,
    where: str = "",
) -> Built:
    """Return the kmodel of a network in a version of the format.

    v3 and v4 carry a classifier's head in float, which both can and which is more accurate than nncase's quantised one,
    and always end in float: MaixPy reads a v4 model's outputs as floats only.

    Args:
        tflite: float, N×H×W×C, normalised input, logits out.
        calibration: uint8 N×C×H×W, training images.
        contract: the network's input.
        version: 3, 4 or 5.
        nncase_python: nncase's interpreter.
        where: the network's name, for messages.

    Raises:
        KmodelError: nncase wrote something that the version cannot hold: the step, and what would replace it.
        ToolError: nncase refused, crashed, hung or ran out of memory.
    """
    compiled = compile_network(tflite, "tflite", calibration, contract, nncase_python=nncase_python, where=where)
    if version == NNCASE_VERSION:
        return Built(compiled.kmodel, compiled.kmodel, compiled.log, ())
    carried = transcode(read(compiled.kmodel, where=where), version, head=tflite_head(tflite), float_output=True)
    return Built(write(carried), compiled.kmodel, compiled.log, carried.notes)
