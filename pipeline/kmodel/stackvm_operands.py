"""One statement's operands and registers, taken with checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel.memory import DType, Range
from pipeline.kmodel.stackvm import Address, Statement
from pipeline.kmodel.steps import ReduceOp

DTYPES: Final = tuple(DType)
"""v5 datatype codes 0 to 11 (nncase v1.9.0 include/nncase/runtime/datatypes.def)."""
REDUCE_OPS: Final[tuple[ReduceOp, ...]] = ("mean", "min", "max", "sum")

Place = Callable[[Address, DType, tuple[int, ...], tuple[int, ...]], Range]
"""Makes the range of a tensor at an address."""


class Operands:
    """A statement's operands and registers, with checks."""

    def __init__(self, statement: Statement, place: Place, where: str) -> None:
        self.statement = statement
        self.place = place
        self.where = where
        self.fields = statement.fields

    def fail(self, what: str) -> KmodelError:
        """Return the error for this statement."""
        return KmodelError(f"{self.where} ({self.statement.op}) {what}")

    def byte(self, index: int) -> int:
        """Return a field as an integer."""
        return int(self.fields[index])

    def expect(self, *counts: int) -> None:
        """Refuse other numbers of operands than these."""
        if len(self.statement.operands) not in counts:
            raise self.fail(f"takes {counts[0]} operands, not {len(self.statement.operands)}")

    def dtype(self, index: int) -> DType:
        """Return the type a field names."""
        return self.dtype_of(self.byte(index))

    def dtype_of(self, code: int) -> DType:
        """Return the type of a code."""
        if not 0 <= code < len(DTYPES):
            raise self.fail(f"names an unknown type ({code})")
        return DTYPES[code]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the register that a field names."""
        return self.register(self.byte(index))

    def register(self, number: int) -> tuple[int, ...]:
        """Return a shape register."""
        if number not in self.statement.shapes:
            raise self.fail(f"reads shape register {number}, which nothing wrote")
        return self.statement.shapes[number]

    def name(self, index: int, names: tuple[str, ...]) -> str:
        """Return the name a field numbers."""
        code = self.byte(index)
        if code >= len(names):
            raise self.fail(f"has an unknown kind ({code})")
        return names[code]

    def reduce_op(self, index: int) -> ReduceOp:
        """Return the reduction a field numbers."""
        code = self.byte(index)
        if code >= len(REDUCE_OPS):
            raise self.fail(f"has an unknown kind ({code})")
        return REDUCE_OPS[code]

    def integer(self, index: int) -> int:
        """Return an operand that is an integer."""
        value = self.statement.operands[index]
        if not isinstance(value, int):
            raise self.fail(f"wants an integer as operand {index}")
        return value

    def number(self, index: int) -> float:
        """Return an operand that is a number."""
        value = self.statement.operands[index]
        if isinstance(value, Address):
            raise self.fail(f"wants a number as operand {index}")
        return float(value)

    def at(self, index: int, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...] = ()) -> Range:
        """Return the range at an operand that is an address."""
        value = self.statement.operands[index]
        if not isinstance(value, Address):
            raise self.fail(f"wants an address as operand {index}")
        if strides and len(strides) != len(shape):
            raise self.fail("has strides of another rank than its shape")
        return self.place(value, dtype, shape, strides)
