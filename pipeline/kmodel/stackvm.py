"""Decoding nncase's stack machine text into statements.

nncase writes straight-line code: a statement pushes its operands, stores shapes and paddings in registers and ends in
one TENSOR operator that takes everything pushed. Branches, loads and arithmetic never occur, and are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.stackvm_isa import (
    LDC_I4,
    LDC_I4_0,
    LDC_I4_1,
    LDC_R4,
    LEA_BUFFER,
    STPADDINGS,
    STSHAPE,
    TENSOR,
    Dialect,
)

MAX_RANK: Final = 16
MAX_OPERANDS: Final = 4096
"""More than any statement of any file pushes; keeps a damaged text from growing the stack without end."""


@dataclass(frozen=True)
class Address:
    """A pushed address: a v5 memory location code and a byte offset in it."""

    location: int
    subresource: int
    offset: int


Operand = Address | int | float


@dataclass(frozen=True)
class Statement:
    """One tensor operator with what it takes.

    Attributes:
        op: its name.
        fields: what follows its number, in order.
        operands: what was pushed for it, in order.
        shapes, paddings: the registers; they change with the next statement.
        raw: its own bytes behind the number.
    """

    op: str
    number: int
    fields: tuple[float, ...]
    operands: tuple[Operand, ...]
    shapes: dict[int, tuple[int, ...]]
    paddings: dict[int, tuple[tuple[int, int, int], ...]]
    raw: bytes


def decode(text: bytes, dialect: Dialect, where: str) -> Iterator[Statement]:
    """Decode a function's text in one dialect, a statement at a time.

    Raises:
        KmodelError: an opcode or operator that the dialect does not have, or operands left over.
    """
    cursor = Cursor(text, 0, len(text), where)
    stack: list[Operand] = []
    shapes: dict[int, tuple[int, ...]] = {}
    paddings: dict[int, tuple[tuple[int, int, int], ...]] = {}
    while cursor.left:
        opcode = cursor.u8()
        if len(stack) > MAX_OPERANDS:
            raise KmodelError(f"{where}: more than {MAX_OPERANDS} operands of one operator")
        if opcode == LDC_I4:
            stack.append(cursor.i32())
        elif opcode in (LDC_I4_0, LDC_I4_1):
            stack.append(opcode - LDC_I4_0)
        elif opcode == LDC_R4:
            stack.append(cursor.f32())
        elif opcode == LEA_BUFFER:
            stack.append(Address(cursor.u8(), cursor.u8(), cursor.u32()))
        elif opcode == STSHAPE:
            register, rank = cursor.unpack("2B")
            shapes[register] = _pop(stack, rank, cursor)
        elif opcode == STPADDINGS:
            register, rank = cursor.unpack("2B")
            paddings[register] = _pop_paddings(stack, rank, dialect, cursor)
        elif opcode == TENSOR:
            yield _tensor(cursor, dialect, tuple(stack), shapes, paddings)
            stack = []
        else:
            raise KmodelError(f"{where}: opcode {opcode:#x} at {cursor.position - 1} is not one that nncase writes")
    if stack:
        raise KmodelError(f"{where}: the text ends with {len(stack)} operands left over")


def _pop(stack: list[Operand], count: int, cursor: Cursor) -> tuple[int, ...]:
    """Pop ``count`` integers, oldest first."""
    if count > MAX_RANK * 3 or count > len(stack):
        raise KmodelError(f"{cursor.what}: {count} values popped at {cursor.position} of {len(stack)}")
    values = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    if not all(isinstance(value, int) for value in values):
        raise KmodelError(f"{cursor.what}: a shape of something else than integers at {cursor.position}")
    return tuple(value for value in values if isinstance(value, int))


def _pop_paddings(
    stack: list[Operand], rank: int, dialect: Dialect, cursor: Cursor
) -> tuple[tuple[int, int, int], ...]:
    each = dialect.padding_values
    values = _pop(stack, rank * each, cursor)
    groups = [values[i : i + each] for i in range(0, len(values), each)]
    return tuple((group[0], group[1], group[2] if each == 3 else 0) for group in groups)


def _tensor(
    cursor: Cursor,
    dialect: Dialect,
    operands: tuple[Operand, ...],
    shapes: dict[int, tuple[int, ...]],
    paddings: dict[int, tuple[tuple[int, int, int], ...]],
) -> Statement:
    number = cursor.u16()
    op = dialect.numbers.get(number)
    if op is None or op not in dialect.layouts:
        raise KmodelError(f"{cursor.what}: tensor operator {number:#x} is unknown to nncase {dialect.name}")
    layout = f"<{dialect.layouts[op]}"
    raw = cursor.take(struct.calcsize(layout))
    return Statement(op, number, struct.unpack(layout, raw), operands, shapes, paddings, raw)
