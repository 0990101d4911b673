"""Reading kmodel v4 (nncase 0.2; v0.2.0-beta4 src/common/include/runtime/model.h:29)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel import v4_nodes
from pipeline.kmodel.convolution import ACTIVATION_BYTES
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.memory import Location, Range
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.parts import Tally, convolution
from pipeline.kmodel.registers import REGISTER_BYTES, decode_registers
from pipeline.kmodel.shapes import with_shapes
from pipeline.kmodel.steps import Conv2d, MatMul, Step

HEADER_BYTES: Final = 40
RANGE_BYTES: Final = 16
MAX_BATCHES: Final = 1 << 16
_LAST_PAD: Final = 7
"""Bodies are padded to 8 bytes; some files lack the last body's padding."""


def read_v4(data: bytes) -> Kmodel:
    """Read a kmodel v4.

    Raises:
        KmodelError: truncated, or not what the format says.
    """
    head = Cursor(data, 8, len(data), "the header")
    flags, target, constant_bytes, main_bytes, nodes, inputs, outputs, reserved = head.unpack("8I")
    if 2 * RANGE_BYTES * inputs + RANGE_BYTES * outputs + constant_bytes + 8 * nodes > head.left:
        raise KmodelError("the header claims more inputs, outputs, constants or nodes than the file holds")
    input_ranges = [v4_nodes.read_range(head) for _ in range(inputs)]
    input_ranges = [replace(r, shape=head.unpack("4i")) for r in input_ranges]
    output_ranges = [v4_nodes.read_range(head) for _ in range(outputs)]
    constants = head.take(constant_bytes)
    node_headers = [head.unpack("2I") for _ in range(nodes)]
    tally = Tally(header=head.position - constant_bytes, constants=constant_bytes)

    steps: list[Step] = []
    notes: list[str] = []
    position = head.position
    for index, (code, size) in enumerate(node_headers):
        end = position + size
        missing = end - len(data)
        if missing > (_LAST_PAD if index == nodes - 1 else 0):
            raise KmodelError(
                f"node {index} of {nodes} ends {missing} bytes behind the file's end",
                remedy="the file is truncated; fetch or compile it again",
            )
        if missing > 0:
            notes.append(f"the last node's padding is declared {missing} bytes past the file's end")
        cursor = Cursor(data, position, min(end, len(data)), _name(index, code))
        steps.append(_read_node(cursor, code, tally))
        position = cursor.end
    program = with_shapes(steps)
    trailing = data[position:]
    tally.trailing = len(trailing)
    return Kmodel(
        version=4,
        inputs=tuple(input_ranges),
        outputs=tuple(_shape_output(r, program) for r in output_ranges),
        steps=program,
        main_bytes=main_bytes,
        constants=constants,
        sizes=tally.total(len(data)),
        flags=flags,
        target=target,
        reserved=reserved,
        trailing=trailing,
        notes=tuple(notes),
    )


def _name(index: int, code: int) -> str:
    known = "kpu_conv2d" if code == v4_nodes.KPU_CONV else v4_nodes.DECODERS.get(code, (v4_nodes.UNREAD.get(code),))[0]
    return f"node {index} ({known or f'opcode {code:#x}'})"


def _read_node(cursor: Cursor, code: int, tally: Tally) -> Step:
    start = cursor.position
    if code == v4_nodes.KPU_CONV:
        conv = _read_convolution(cursor)
        tally.add(conv)
        tally.code += 24 + REGISTER_BYTES
        return conv
    if code not in v4_nodes.DECODERS:
        step: Step = v4_nodes.read_unknown(cursor, code)
        tally.code += cursor.position - start
        return step
    step = v4_nodes.DECODERS[code][1](cursor)
    weights = 0
    if isinstance(step, MatMul | Conv2d):
        weights = sum(len(part) for part in (step.bias, getattr(step, "weights", b"")) if isinstance(part, bytes))
    tally.weights += weights
    tally.code += cursor.position - start - weights
    return step


def _read_convolution(cursor: Cursor) -> KpuConv:
    """Read a convolution; its bn, act and para addresses hold the padding before each table."""
    main_output = v4_nodes.read_range(cursor)
    batches, _reserved = cursor.unpack("2I")
    if not 1 <= batches <= MAX_BATCHES:
        raise KmodelError(f"{cursor.what} runs {batches} times")
    registers = decode_registers(cursor.take(REGISTER_BYTES))
    cursor.take(registers.bn_address)
    batch_norm = cursor.take(8 * registers.out_channels)
    cursor.take(registers.act_address)
    activation = cursor.take(ACTIVATION_BYTES)
    cursor.take(registers.para_address)
    weights = cursor.take(registers.weight_bytes)
    registers = replace(registers, bn_address=0, act_address=0, para_address=0)
    output = None
    if main_output.size:
        if main_output.location is not Location.MAIN:
            raise KmodelError(f"{cursor.what} writes its result to {main_output.location.value}")
        output = replace(
            main_output, shape=(batches, registers.out_channels, registers.out_height, registers.out_width)
        )
    return convolution(registers, weights, batch_norm, activation, output, batches, cursor.what)


def _shape_output(output: Range, steps: Sequence[Step]) -> Range:
    """Give an output the shape of the last step that writes all of it."""
    for step in reversed(steps):
        for written in step.outputs:
            if (written.location, written.start, written.size) == (output.location, output.start, output.size):
                return replace(output, shape=written.shape)
    return output
