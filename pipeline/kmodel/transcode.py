"""From nncase 1.9's kmodel v5 to v4 and v3.

The register blocks, weights and tables are the same in all three; what differs is the container, who moves data
between feature-map memory and general SRAM, and which CPU operators there are. Addresses, alignment and dataflow are
recomputed and checked, never copied on trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel import head as heads
from pipeline.kmodel.carry import carry, refuse
from pipeline.kmodel.check import check_dataflow, step_name
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.head import ALIGNMENT, Head, Quant
from pipeline.kmodel.layout import check_registers
from pipeline.kmodel.memory import SRAM_BYTES, DType, Location, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.parts import main_range
from pipeline.kmodel.read import read
from pipeline.kmodel.shifts import cap_shifts
from pipeline.kmodel.steps import Dequantise, Download, Quantise, Step, Unknown, Upload, map_ranges
from pipeline.kmodel.write import write

__all__ = ["Head", "Quant", "transcode"]

EIGHT_BIT_WEIGHTS: Final = 1
"""v3's header flag."""


def transcode(
    kmodel: Kmodel,
    to: int,
    *,
    head: Head | None = None,
    output_quant: Quant | None = None,
    float_output: bool = False,
    max_shift: int | None = None,
) -> Kmodel:
    """Carry a v5 model over to v4 or v3.

    Args:
        kmodel: a model read from a v5 file.
        to: 4 or 3.
        head: a float head to write in place of the model's own, or behind a uint8 output.
        output_quant: what the codes of a uint8 output (or of the backbone's) mean; needed for a head or a float output
            where the file does not say itself.
        float_output: end in float: a uint8 output is dequantised (MaixPy reads v4 outputs as floats only).
        max_shift: the largest activation shift the runtime knows; None leaves them (up to 43 from nncase 1.9).

    Returns:
        The model as its file will be read; ``notes`` say what changed.

    Raises:
        KmodelError: what cannot be carried over: the step, and the replacement that would remove it.
    """
    if kmodel.version != 5 or to not in (3, 4):
        raise KmodelError(f"cannot carry kmodel v{kmodel.version} over to v{to}; v5 to v4 or v3 is what there is")
    notes: list[str] = []
    given = _input(kmodel)
    steps = _fold_downloads(kmodel.steps)
    constants, outputs = kmodel.constants, kmodel.outputs
    if head is not None:
        backbone = heads.find_backbone(steps, outputs, head)
        quant = _quant(output_quant, backbone.quant)
        if backbone.dropped:
            notes.append(f"a float head replaces the model's last {backbone.dropped} steps")
        written = heads.attach(backbone, head, quant, constants, to)
        steps, constants, outputs = written.steps, written.constants, (written.output,)
    elif float_output:
        steps, outputs = _float_output(steps, outputs, output_quant)
    steps, inputs = _lift_input(steps, given, to)
    notes += [
        f"{step_name(index, step)}: v{to} rounds halves away from zero where v5 rounds them to even"
        for index, step in enumerate(steps)
        if isinstance(step, Quantise)
    ]
    steps = tuple(carry(index, step, steps[:index], constants, to) for index, step in enumerate(steps))
    steps = tuple(_convolution(index, step, to, max_shift, notes) for index, step in enumerate(steps))
    main_bytes, moved, ins, outs = _place(steps, inputs, outputs)
    model = Kmodel(
        version=to,
        inputs=ins,
        outputs=outs,
        steps=moved,
        main_bytes=main_bytes,
        constants=constants if to == 4 else b"",
        flags=EIGHT_BIT_WEIGHTS if to == 3 else 0,
    )
    check_dataflow(model)
    return replace(read(write(model)), notes=tuple(notes))


def _input(kmodel: Kmodel) -> Range:
    if any(isinstance(step, Unknown) for step in kmodel.steps):
        index, step = next((i, s) for i, s in enumerate(kmodel.steps) if isinstance(s, Unknown))
        raise refuse(index, step, "an operator that we do not know")
    if len(kmodel.inputs) != 1:
        raise KmodelError(f"the model has {len(kmodel.inputs)} inputs; one can be carried over")
    given = kmodel.inputs[0]
    if given.dtype is not DType.UINT8 or len(given.shape) != 4 or given.shape[0] != 1:
        raise KmodelError(
            f"the input is {given.dtype.numpy_name} {given.shape}; uint8 1×C×H×W can be carried over",
            remedy="compile with preprocess=True, input_type='uint8' and the NCHW layout",
        )
    return given


def _fold_downloads(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Turn each download into the main-memory output of the convolution whose result it fetches."""
    folded: list[Step] = []
    for index, step in enumerate(steps):
        if not isinstance(step, Download):
            folded.append(step)
            continue
        producer = _producer(folded, step.source)
        conv = folded[producer] if producer is not None else None
        if (
            producer is None
            or not isinstance(conv, KpuConv)
            or conv.target != step.source
            or not step.target.contiguous
        ):
            raise refuse(index, step, "downloads something else than the whole result of one convolution")
        if conv.main_output is not None:
            raise refuse(index, step, "downloads a result that was downloaded before")
        for between in folded[producer + 1 :]:
            touched = [r for r in (*between.inputs, *between.outputs) if r.location is step.target.location]
            if any(r.start < step.target.end and step.target.start < r.end for r in touched):
                raise refuse(index, step, f"goes where {step_name(producer + 1, between)} still works")
        folded[producer] = replace(conv, main_output=replace(step.target, strides=()))
    return tuple(folded)


def _producer(steps: Sequence[Step], wanted: Range) -> int | None:
    """Return the last step that wrote any of a range."""
    for index in range(len(steps) - 1, -1, -1):
        for written in steps[index].outputs:
            if written.location is wanted.location and written.start < wanted.end and wanted.start < written.end:
                return index
    return None


def _lift_input(steps: tuple[Step, ...], given: Range, to: int) -> tuple[tuple[Step, ...], tuple[Range, ...]]:
    """Let the caller put the input straight into feature-map memory when all the model does with it is upload it."""
    users = [index for index, step in enumerate(steps) if any(r.location is Location.INPUT for r in step.inputs)]
    first = steps[0] if steps else None
    if (
        users == [0]
        and isinstance(first, Upload)
        and (first.source.start, first.source.size) == (given.start, given.size)
    ):
        # nncase 0.2 gives the dense size here, and the loader uses the start alone.
        return steps[1:], (replace(first.target, size=first.source.size),)
    if to == 3:
        raise KmodelError(
            "kmodel v3 takes an image straight into a first KPU convolution; this model uses its input otherwise, "
            f"in {', '.join(step_name(index, steps[index]) for index in users)}",
            remedy="use kmodel v4, or begin with one KPU convolution",
        )
    return steps, (given,)


def _quant(given: Quant | None, own: tuple[float, float] | None) -> tuple[float, float]:
    if given is not None:
        return given.scale, given.bias
    if own is None:
        raise KmodelError(
            "the file does not say what its uint8 output means",
            remedy="give the output's scale and zero point, or compile with a float output",
        )
    return own


def _float_output(
    steps: tuple[Step, ...], outputs: tuple[Range, ...], given: Quant | None
) -> tuple[tuple[Step, ...], tuple[Range, ...]]:
    """End a model in float: dequantise its uint8 output."""
    if all(output.dtype is DType.FLOAT32 for output in outputs):
        return steps, outputs
    backbone = heads.whole_backbone(steps, outputs)
    if backbone is None:
        raise KmodelError("its uint8 output is not the result of a KPU convolution, and cannot be dequantised here")
    quant = _quant(given, None)
    kept, codes = heads.features_in_main(backbone)
    shape = codes.shape
    real = main_range(DType.FLOAT32, heads.first_fit(4 * codes.elements, [codes]), shape)
    return (*kept, Dequantise(codes, real, *quant)), (real,)


def _convolution(index: int, step: Step, to: int, max_shift: int | None, notes: list[str]) -> Step:
    """Finish a convolution: check its registers, clear the tables' meaningless bits, cap shifts."""
    if not isinstance(step, KpuConv):
        return step
    if step.batches != 1:
        raise KmodelError("runs over several maps", where=step_name(index, step), remedy="compile with batch 1")
    check_registers(step, step_name(index, step))
    step = replace(step, batch_norm=step.batch_norm.masked(), activation=step.activation.masked())
    if max_shift is not None:
        capped = cap_shifts(step, max_shift)
        if capped.conv is not step:
            notes.append(
                f"{step_name(index, step)}: activation shifts capped at {max_shift}, "
                f"results change by up to {capped.worst_change:.3f} codes"
            )
        step = capped.conv
    send = int(to == 4 and step.main_output is not None)
    return replace(step, registers=replace(step.registers, send_data_out=send))


def _aligned(byte: int) -> int:
    return -(-byte // ALIGNMENT) * ALIGNMENT


def _place(
    steps: tuple[Step, ...], inputs: tuple[Range, ...], outputs: tuple[Range, ...]
) -> tuple[int, tuple[Step, ...], tuple[Range, ...], tuple[Range, ...]]:
    """Lay out general SRAM: the data pool, then the outputs that lie outside it, then the input."""
    ranges = [r for step in steps for r in (*step.inputs, *step.outputs)]
    ends = {
        where: max((r.end for r in (*ranges, *inputs, *outputs) if r.location is where), default=0)
        for where in Location
    }
    base = {Location.MAIN: 0, Location.OUTPUT: _aligned(ends[Location.MAIN])}
    base[Location.INPUT] = base[Location.OUTPUT] + _aligned(ends[Location.OUTPUT])
    size = _aligned(max((base[where] + ends[where] for where in base if ends[where]), default=0))
    if size > SRAM_BYTES:
        raise KmodelError(f"the program needs {size} bytes of general SRAM; the K210 has {SRAM_BYTES}")

    def moved(r: Range) -> Range:
        if r.location not in base:
            return r
        return replace(r, location=Location.MAIN, start=base[r.location] + r.start)

    return (
        size,
        tuple(map_ranges(step, moved) for step in steps),
        tuple(moved(r) for r in inputs),
        tuple(moved(r) for r in outputs),
    )
