"""Reading kmodel v3 (nncase 0.1; kendryte-standalone-sdk lib/drivers/include/kpu.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel import v3_layers
from pipeline.kmodel.convolution import ACTIVATION_BYTES
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.parts import Tally, convolution, main_range
from pipeline.kmodel.registers import REGISTER_BYTES, decode_registers
from pipeline.kmodel.shapes import with_shapes
from pipeline.kmodel.steps import FullyConnected, Step, Unknown

HEADER_BYTES: Final = 28
MAIN_OUTPUT: Final = 1
"""Layer flag KLF_MAIN_MEM_OUT: the convolution's result goes to general SRAM."""
_LAST_PAD: Final = 7
"""Bodies are padded to 8 bytes; some files lack the last body's padding."""


def read_v3(data: bytes) -> Kmodel:
    """Read a kmodel v3.

    Raises:
        KmodelError: truncated, or not what the format says.
    """
    head = Cursor(data, 4, len(data), "the header")
    flags, architecture = head.unpack("2I")
    if architecture != 0:
        raise KmodelError(f"a kmodel v3 for architecture {architecture}; the K210 is 0")
    layers, _lowest_row, main_bytes = head.unpack("3I")
    outputs = head.count(8, "outputs")
    if 8 * (outputs + layers) > head.left:
        raise KmodelError(f"the header claims {layers} layers, which do not fit the file")
    output_ranges = [head.unpack("2I") for _ in range(outputs)]
    layer_headers = [head.unpack("2I") for _ in range(layers)]
    tally = Tally(header=head.position)

    steps: list[Step] = []
    step_flags: list[int] = []
    notes: list[str] = []
    position = head.position
    for index, (kind, size) in enumerate(layer_headers):
        end = position + size
        missing = end - len(data)
        if missing > (_LAST_PAD if index == layers - 1 else 0):
            raise KmodelError(
                f"layer {index} of {layers} ends {missing} bytes behind the file's end",
                remedy="the file is truncated; fetch or compile it again",
            )
        if missing > 0:
            notes.append(f"the last layer's padding is declared {missing} bytes past the file's end")
        cursor = Cursor(data, position, min(end, len(data)), _name(index, kind))
        layer_flags = cursor.u32()
        steps.append(_read_layer(cursor, kind, layer_flags, tally))
        step_flags.append(layer_flags)
        position = cursor.end
    program = with_shapes(steps)
    trailing = data[position:]
    tally.trailing = len(trailing)
    return Kmodel(
        version=3,
        inputs=_inputs(steps),
        outputs=tuple(_output(start, size, program) for start, size in output_ranges),
        steps=program,
        main_bytes=main_bytes,
        sizes=tally.total(len(data)),
        flags=flags,
        step_flags=tuple(step_flags),
        trailing=trailing,
        notes=tuple(notes),
    )


def _name(index: int, kind: int) -> str:
    name = "K210_CONV" if kind == v3_layers.CONV else v3_layers.DECODERS.get(kind, (f"type {kind}",))[0]
    return f"layer {index} ({name})"


def _read_layer(cursor: Cursor, kind: int, flags: int, tally: Tally) -> Step:
    start = cursor.position - 4
    if kind == v3_layers.CONV:
        conv = _read_convolution(cursor, start, flags)
        tally.add(conv)
        tally.code += 24 + REGISTER_BYTES
        return conv
    if kind not in v3_layers.DECODERS:
        step: Step = Unknown("", kind, cursor.take(cursor.left))
        tally.code += cursor.position - start
        return step
    step = v3_layers.DECODERS[kind][1](cursor)
    constants = len(step.weights) + len(step.bias) if isinstance(step, FullyConnected) else 0
    tally.weights += constants
    tally.code += cursor.position - start - constants
    return step


def _read_convolution(cursor: Cursor, start: int, flags: int) -> KpuConv:
    main_start, layer_at, weights_at, bn_at, act_at = cursor.unpack("5I")

    def part(offset: int, size: int, what: str) -> bytes:
        if offset < start:
            raise KmodelError(f"{cursor.what}: its {what} lie at {offset}, before its body")
        return Cursor(cursor.data, offset, cursor.end, f"{cursor.what}, {what}").take(size)

    registers = decode_registers(part(layer_at, REGISTER_BYTES, "registers"))
    r = registers
    shape = (1, r.out_channels, r.out_height, r.out_width)
    return convolution(
        registers,
        weights=part(weights_at, r.weight_bytes, "weights"),
        batch_norm=part(bn_at, 8 * r.out_channels, "batch-norm"),
        activation=part(act_at, ACTIVATION_BYTES, "activation"),
        main_output=main_range(DType.UINT8, main_start, shape) if flags & MAIN_OUTPUT else None,
        batches=1,
        name=cursor.what,
    )


def _inputs(steps: list[Step]) -> tuple[Range, ...]:
    """The runtime copies the input to where the first layer reads it: a convolution or a fully connected layer."""
    if steps and isinstance(steps[0], KpuConv | FullyConnected):
        return (steps[0].source,)
    return ()


def _output(start: int, size: int, steps: Sequence[Step]) -> Range:
    """Name an output's type and shape after the last step that writes at its address."""
    for step in reversed(steps):
        for written in step.outputs:
            if written.location is Location.MAIN and written.start == start:
                shape = written.shape if written.size == size else ()
                return Range(Location.MAIN, written.dtype, start, size, shape)
    return Range(Location.MAIN, DType.UINT8, start, size)
