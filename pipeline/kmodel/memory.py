"""Where a kmodel's values live: locations, data types, and ranges of bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pipeline.kmodel.registers import ROW_BYTES

KPU_MEMORY_BYTES: Final = 2 << 20
"""The KPU's feature-map memory (AI SRAM), 2 MiB. Source: kendryte-standalone-sdk platform.h (AI_IO_BASE_ADDR)."""

SRAM_BYTES: Final = 6 << 20
"""The chip's general SRAM, 6 MiB at 0x80000000. Source: kendryte-standalone-sdk platform.h."""


class Location(Enum):
    """The address space a range is in. Offsets are bytes from the start of that space."""

    MAIN = "main"
    """General SRAM that the loader allocates: v3's and v4's main_mem, v5's data pools, one behind the other."""
    KPU = "kpu"
    """Feature-map memory; maps are stored in the KPU's row layout (``KpuLayout``)."""
    INPUT = "input"
    """v5 only: the caller's input tensors."""
    OUTPUT = "output"
    """v5 only: the caller's output tensors."""
    CONST = "const"
    """Constants in the file: ``Kmodel.constants``."""


class DType(Enum):
    """An element type: its numpy name and its size in bytes."""

    INT8 = ("int8", 1)
    INT16 = ("int16", 2)
    INT32 = ("int32", 4)
    INT64 = ("int64", 8)
    UINT8 = ("uint8", 1)
    UINT16 = ("uint16", 2)
    UINT32 = ("uint32", 4)
    UINT64 = ("uint64", 8)
    FLOAT16 = ("float16", 2)
    FLOAT32 = ("float32", 4)
    FLOAT64 = ("float64", 8)
    BFLOAT16 = ("bfloat16", 2)

    @property
    def numpy_name(self) -> str:
        """The numpy name (bfloat16 has none in plain numpy)."""
        return self.value[0]

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.value[1]


@dataclass(frozen=True)
class Range:
    """A tensor somewhere in memory.

    Attributes:
        location: the address space.
        dtype: the element type.
        start: byte offset in that space (for KPU: row address · 64).
        size: bytes that the file gives to it; for KPU ranges the bytes of the rows it occupies.
        shape: dimensions, outermost first (N, C, H, W for maps); () when the file does not say.
        strides: elements from one index to the next, outermost first; () when contiguous.
    """

    location: Location
    dtype: DType
    start: int
    size: int
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The byte behind the range."""
        return self.start + self.size

    @property
    def elements(self) -> int:
        """Elements: from the shape, or from the size where there is none."""
        return math.prod(self.shape) if self.shape else self.size // self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie densely one behind the other (strides of dimensions of 1 do not matter)."""
        expected = 1
        for size, stride in reversed(list(zip(self.shape, self.strides, strict=False))):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


@dataclass(frozen=True)
class KpuLayout:
    """How a map of a given width lies in feature-map memory (nncase v1.9.0 runtime_op_utility.h:27-120).

    Byte of pixel (c, y, x): ``(c // group)·row_length·height·64 + (c % group)·pitch + y·row_length·64 + x``.

    Attributes:
        group: channels that share a 64-byte row.
        row_length: 64-byte rows a line.
        pitch: bytes from one channel of a group to the next.
    """

    group: int
    row_length: int
    pitch: int

    @staticmethod
    def of_width(width: int) -> KpuLayout:
        """Return the layout of maps ``width`` pixels wide."""
        if width <= 16:
            return KpuLayout(4, 1, 16)
        if width <= 32:
            return KpuLayout(2, 1, 32)
        return KpuLayout(1, -(-width // ROW_BYTES), ROW_BYTES)

    def map_bytes(self, channels: int, height: int) -> int:
        """Bytes that a map of ``channels`` × ``height`` occupies."""
        return -(-channels // self.group) * self.row_length * height * ROW_BYTES


def kpu_bytes(channels: int, height: int, width: int) -> int:
    """Bytes of feature-map memory that one C×H×W map occupies."""
    return KpuLayout.of_width(width).map_bytes(channels, height)
