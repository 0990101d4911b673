"""Decoding the k210 module's code: uploads, downloads, convolutions and copies.

Source: nncase v1.9.0 modules/k210/include/nncase/runtime/k210/runtime_types.h:292-343. An instruction is an opcode
byte, three bytes of padding and its options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import ACTIVATION_SEGMENTS
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.memory import DType, Range
from pipeline.kmodel.model import KpuConv
from pipeline.kmodel.parts import convolution, kpu_map
from pipeline.kmodel.registers import REGISTER_BYTES, decode_registers
from pipeline.kmodel.steps import Copy, Download, Step, Upload
from pipeline.kmodel.v5_container import KPU, RDATA, RawRange, raw_range

UPLOAD, DOWNLOAD, CONV2D, COPY = 0, 1, 2, 3
_INSTRUCTION_BYTES: Final = {UPLOAD: 44, DOWNLOAD: 44, CONV2D: 152, COPY: 76}
MAX_BATCHES: Final = 1 << 16

Resolve = Callable[[RawRange, tuple[int, ...], tuple[int, ...]], Range]
"""Places a function's own range (its input, output or data) in the flat program, with a shape and strides."""
Rdata = Callable[[RawRange], bytes]
"""Returns the bytes of a range in the module's .rdata."""


def decode(text: bytes, resolve: Resolve, rdata: Rdata, where: str) -> list[Step]:
    """Decode one function's text.

    Raises:
        KmodelError: an unknown instruction, or ranges that do not fit.
    """
    cursor = Cursor(text, 0, len(text), where)
    steps: list[Step] = []
    while cursor.left:
        opcode = cursor.u8()
        cursor.take(3)
        cursor.what = name = f"{where}, step {len(steps)}"
        if opcode in (UPLOAD, DOWNLOAD):
            steps.append(_transfer(cursor, opcode, resolve, name))
        elif opcode == CONV2D:
            steps.append(_conv2d(cursor, rdata, name))
        elif opcode == COPY:
            source, target = raw_range(cursor), raw_range(cursor)
            shape = cursor.unpack("4I")
            from_strides, to_strides = cursor.unpack("4I"), cursor.unpack("4I")
            steps.append(Copy(resolve(source, shape, from_strides), resolve(target, shape, to_strides)))
        else:
            raise KmodelError(f"{name}: unknown KPU instruction {opcode}")
    return steps


def _transfer(cursor: Cursor, opcode: int, resolve: Resolve, name: str) -> Step:
    source, target = raw_range(cursor), raw_range(cursor)
    shape = cursor.unpack("4I")
    batches, channels, height, width = shape
    kpu_side, other = (target, source) if opcode == UPLOAD else (source, target)
    if kpu_side.location != KPU or other.location == KPU or other.dtype is not DType.UINT8 or min(shape) < 1:
        raise KmodelError(f"{name}: not a transfer of a uint8 map to or from feature-map memory")
    rows = kpu_map(kpu_side.start, channels, height, width, name, batches)
    dense = resolve(other, shape, ())
    return Upload(dense, rows) if opcode == UPLOAD else Download(rows, dense)


def _conv2d(cursor: Cursor, rdata: Rdata, name: str) -> KpuConv:
    weights, batch_norm, activation, main_output = (raw_range(cursor) for _ in range(4))
    batches = cursor.u32()
    registers = decode_registers(cursor.take(REGISTER_BYTES))
    if main_output.size:
        raise KmodelError(f"{name}: a convolution with an output in general SRAM, which nncase 1.x never writes")
    if not 1 <= batches <= MAX_BATCHES:
        raise KmodelError(f"{name}: runs {batches} times")
    if any(part.location != RDATA for part in (weights, batch_norm, activation)):
        raise KmodelError(f"{name}: its weights or tables are not constants")
    return convolution(registers, rdata(weights), rdata(batch_norm), rdata(activation), None, batches, name)


def tables(text: bytes, where: str) -> Iterator[tuple[RawRange, int]]:
    """Yield each convolution's batch-norm and activation range with its count of 64-bit words.

    Raises:
        KmodelError: an unknown instruction, or a text that ends inside one.
    """
    cursor = Cursor(text, 0, len(text), where)
    while cursor.left:
        opcode = cursor.u8()
        if opcode not in _INSTRUCTION_BYTES:
            raise KmodelError(f"{where}: unknown KPU instruction {opcode}")
        body = cursor.part(_INSTRUCTION_BYTES[opcode] - 1, where)
        if opcode == CONV2D:
            body.take(3)
            _weights, batch_norm, activation = (raw_range(body) for _ in range(3))
            yield batch_norm, batch_norm.size // 8
            yield activation, ACTIVATION_SEGMENTS
