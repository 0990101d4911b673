"""Checks on a program's memory: every range inside its space, and every value written before it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import KPU_MEMORY_BYTES, SRAM_BYTES, Location, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.steps import Step, Unknown

DMA_BYTES = 8
"""The KPU's results reach general SRAM in whole 64-bit words (kendryte-standalone-sdk lib/drivers/kpu.c kpu_conv)."""


def space_bytes(model: Kmodel) -> dict[Location, int]:
    """Return the size of each address space of a program."""

    def pool(ranges: tuple[Range, ...]) -> int:
        return max((r.end for r in ranges), default=0)

    return {
        Location.MAIN: model.main_bytes,
        Location.KPU: KPU_MEMORY_BYTES,
        Location.CONST: len(model.constants),
        Location.INPUT: pool(model.inputs) if model.version == 5 else 0,
        Location.OUTPUT: pool(model.outputs) if model.version == 5 else 0,
    }


def step_name(index: int, step: Step) -> str:
    """Return how messages call a step: its number and kind, and where it stands in the file when that is known."""
    kind = step.name if isinstance(step, Unknown) and step.name else type(step).__name__
    origin = f", {step.name}" if isinstance(step, KpuConv) and step.name else ""
    return f"step {index} ({kind}{origin})"


def check_ranges(model: Kmodel) -> None:
    """Check that every range lies in its address space and is as large as its shape.

    A program with CPU code that is kept verbatim is not checked: its memory is not known.

    Raises:
        KmodelError: a range that does not.
    """
    if any(isinstance(step, Unknown) for step in model.steps):
        return
    spaces = space_bytes(model)
    places = [("an input", r) for r in model.inputs] + [("an output", r) for r in model.outputs]
    for index, step in enumerate(model.steps):
        places += [(step_name(index, step), r) for r in (*step.inputs, *step.outputs)]
    for where, r in places:
        if r.end > spaces[r.location]:
            raise KmodelError(
                f"{where} reaches byte {r.end} of {r.location.value} memory, which has {spaces[r.location]}"
            )
        if any(size < 0 for size in r.shape):
            raise KmodelError(f"{where} has the shape {r.shape}")
        if r.location is not Location.KPU and not r.strides and math.prod(r.shape) * r.dtype.itemsize > r.size > 0:
            raise KmodelError(f"{where} has the shape {r.shape} of {r.dtype.numpy_name} in {r.size} bytes")


@dataclass
class _Memory:
    """Which bytes of general SRAM are written, and which maps lie in feature-map memory."""

    main: npt.NDArray[np.bool_]
    maps: list[Range] = field(default_factory=list)

    def read(self, wanted: Range, name: str) -> None:
        if wanted.location is Location.KPU:
            if not any((r.start, r.shape) == (wanted.start, wanted.shape) for r in self.maps):
                raise KmodelError(f"{name} reads a map at KPU byte {wanted.start} that is not there")
        elif wanted.location is Location.MAIN and not self.main[wanted.start : wanted.end].all():
            raise KmodelError(f"{name} reads bytes {wanted.start} to {wanted.end} of main memory unwritten")

    def write(self, written: Range, name: str, *, by_dma: bool) -> None:
        """Mark as written; a DMA's last word spoils what lies in it behind the result."""
        if written.location is Location.KPU:
            self.maps = [r for r in self.maps if r.end <= written.start or written.end <= r.start] + [written]
            return
        self.main[written.start : written.end] = True
        if by_dma:
            if written.start % DMA_BYTES:
                raise KmodelError(f"{name} writes its result to byte {written.start}, not a multiple of {DMA_BYTES}")
            self.main[written.end : -(-written.end // DMA_BYTES) * DMA_BYTES] = False


def check_dataflow(model: Kmodel) -> None:
    """Check that each step of a v3 or v4 program reads only what was written before, and not overwritten since.

    A convolution or download must find, at its source, a whole map of exactly its shape.

    Raises:
        KmodelError: the step that reads something else, or more general SRAM than the chip has.
    """
    if model.main_bytes > SRAM_BYTES:
        raise KmodelError(f"the program asks for {model.main_bytes} bytes of general SRAM; the K210 has {SRAM_BYTES}")
    memory = _Memory(np.zeros(model.main_bytes + DMA_BYTES, dtype=bool))
    for given in model.inputs:
        memory.write(given, "the input", by_dma=False)
    for index, step in enumerate(model.steps):
        name = step_name(index, step)
        for wanted in step.inputs:
            memory.read(wanted, name)
        for written in step.outputs:
            memory.write(written, name, by_dma=isinstance(step, KpuConv))
    for output in model.outputs:
        if not memory.main[output.start : output.end].all():
            raise KmodelError(f"nothing writes all of the output at {output.start}")
