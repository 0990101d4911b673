"""What a running program sees: byte arrays for the general memories, and maps in feature-map memory.

Every array has one row an image, so that a program runs over a batch. Feature-map memory holds maps as the convolutions
want them (``KpuMap``), not bytes: a layer nearly always reads just what another wrote. Only where it does not (a
concatenation by adjacent addresses, say) are maps laid out as the bytes that the chip would have, and read from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import KmodelError
from pipeline.kmodel.memory import KPU_MEMORY_BYTES, KpuLayout, Location, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.registers import ROW_BYTES

Codes = npt.NDArray[np.uint8]
Tensor = npt.NDArray[Any]


class Arena:
    """Buffers that are used again: a new one costs a page fault every 4 KiB, more than a layer's arithmetic.

    One thread's; nothing is shared.
    """

    def __init__(self) -> None:
        self._free: list[Codes] = []

    def take(self, *shape: int) -> Codes:
        """Return an array that holds anything, in the smallest free buffer that is large enough."""
        size = math.prod(shape)
        fitting = [index for index, buffer in enumerate(self._free) if len(buffer) >= size]
        if fitting:
            buffer = self._free.pop(min(fitting, key=lambda index: len(self._free[index])))
        else:
            buffer = np.empty(size, np.uint8)
        return buffer[:size].reshape(shape)

    def give(self, array: Codes) -> None:
        """Take back what ``take`` returned; nobody may use it any more."""
        assert isinstance(array.base, np.ndarray)
        self._free.append(array.base)


class KpuMap(Protocol):
    """uint8 maps, N×C×H×W in meaning; how they are stored is their backend's business."""

    def release(self, arena: Arena) -> None:
        """Nobody reads the maps any more: give back what came from the arena."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, channels, height, width)."""

    def codes(self) -> Codes:
        """The maps as a numpy array N×C×H×W."""


class PlainMap:
    """Maps as a numpy array."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, channels, height, width)."""
        images, channels, height, width = self._codes.shape
        return images, channels, height, width

    def codes(self) -> Codes:
        """The maps as a numpy array N×C×H×W."""
        return self._codes

    def release(self, arena: Arena) -> None:
        """Nothing: the array is not the arena's."""


@dataclass(eq=False)
class _Entry:
    """Maps at an address, and which bytes of theirs nothing has covered since."""

    start: int
    value: KpuMap
    left: list[tuple[int, int]]
    laid_out: bool = False


class KpuMemory:
    """Feature-map memory of a batch of images. Addresses are bytes, multiples of 64."""

    def __init__(self, images: int, arena: Arena) -> None:
        self.images = images
        self.arena = arena
        self._entries: list[_Entry] = []  # in the order they were written
        self._bytes: Codes | None = None
        self._written = np.zeros(KPU_MEMORY_BYTES // ROW_BYTES, np.bool_)

    def write(self, start: int, value: KpuMap) -> None:
        """Put maps at an address; what they cover is gone.

        Raises:
            KmodelError: they leave the memory.
        """
        end = _checked_end(start, *value.shape[1:])
        for entry in self._entries:
            entry.left = [
                part
                for low, high in entry.left
                for part in ((low, min(high, start)), (max(low, end), high))
                if part[0] < part[1]
            ]
            if not entry.left:
                entry.value.release(self.arena)
        self._entries = [entry for entry in self._entries if entry.left]
        self._entries.append(_Entry(start, value, [(start, end)]))
        self._written[start // ROW_BYTES : end // ROW_BYTES] = True

    def read(self, start: int, channels: int, height: int, width: int) -> KpuMap:
        """Return the maps of a shape at an address.

        Raises:
            KmodelError: they leave the memory, or nothing has written there.
        """
        end = _checked_end(start, channels, height, width)
        for entry in self._entries:
            whole = entry.left == [(start, end)] and entry.start == start
            if whole and entry.value.shape[1:] == (channels, height, width):
                return entry.value
        if not self._written[start // ROW_BYTES : end // ROW_BYTES].all():
            raise KmodelError(f"a step reads KPU memory from byte {start} on that nothing has written")
        if self._bytes is None:
            self._bytes = np.zeros((self.images, KPU_MEMORY_BYTES), np.uint8)
        for entry in self._entries:  # the older first: the newer go over them
            if not entry.laid_out:
                self._bytes[:, _addresses(entry.start, *entry.value.shape[1:])] = entry.value.codes()
                entry.laid_out = True
        return PlainMap(np.ascontiguousarray(self._bytes[:, _addresses(start, channels, height, width)]))

    def release(self) -> None:
        """Forget everything."""
        for entry in self._entries:
            entry.value.release(self.arena)
        self._entries.clear()


def _checked_end(start: int, channels: int, height: int, width: int) -> int:
    """Return the byte behind maps at an address."""
    end = start + KpuLayout.of_width(width).map_bytes(channels, height)
    if start < 0 or end > KPU_MEMORY_BYTES:
        raise KmodelError(f"maps at bytes {start} to {end} leave the KPU's {KPU_MEMORY_BYTES} bytes of memory")
    return end


def _addresses(start: int, channels: int, height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the byte of each pixel (c, y, x); see ``KpuLayout``."""
    layout = KpuLayout.of_width(width)
    c, y, x = np.ogrid[:channels, :height, :width]
    line = layout.row_length * ROW_BYTES
    return start + (c // layout.group) * line * height + (c % layout.group) * layout.pitch + y * line + x  # type: ignore[no-any-return]


class Memory:
    """All memories of a program over a batch of images."""

    def __init__(self, kmodel: Kmodel, images: int, arena: Arena) -> None:
        self.images = images
        self.kpu = KpuMemory(images, arena)
        constants = np.frombuffer(kmodel.constants, np.uint8)
        ends = {Location.INPUT: 0, Location.OUTPUT: 0}
        for part in (*kmodel.inputs, *kmodel.outputs):
            if part.location in ends:
                ends[part.location] = max(ends[part.location], part.end)
        self._bytes: dict[Location, Codes] = {
            Location.MAIN: np.zeros((images, kmodel.main_bytes), np.uint8),
            Location.INPUT: np.zeros((images, ends[Location.INPUT]), np.uint8),
            Location.OUTPUT: np.zeros((images, ends[Location.OUTPUT]), np.uint8),
            Location.CONST: np.broadcast_to(constants, (images, len(constants))),
        }

    def view(self, part: Range) -> Tensor:
        """Return a range of general memory as an array images × shape (× one dimension where it names no shape).

        Raises:
            KmodelError: it leaves its memory.
        """
        memory = self._bytes[part.location]
        shape = part.shape or (part.elements,)
        strides = part.strides if part.shape and part.strides else _dense(shape)
        dtype = np.dtype(part.dtype.numpy_name).newbyteorder("<")
        last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        reach = 0 if 0 in shape else last + 1
        end = part.start + reach * dtype.itemsize
        if part.start < 0 or end > memory.shape[1] or min(strides, default=0) < 0:
            raise KmodelError(
                f"a tensor at bytes {part.start} to {end} leaves its memory ({part.location.value}, "
                f"{memory.shape[1]} bytes)"
            )
        byte_strides = (memory.strides[0], *(stride * dtype.itemsize for stride in strides))
        typed = memory[:, part.start : end]
        writeable = part.location is not Location.CONST
        first = _first_as(typed, dtype)
        return np.lib.stride_tricks.as_strided(first, (self.images, *shape), byte_strides, writeable=writeable)

    def store(self, part: Range, value: Tensor) -> None:
        """Write an array images × … to a range, in order."""
        target = self.view(part)
        target[...] = value.reshape(target.shape).astype(target.dtype, copy=False)


def _first_as(data: Codes, dtype: np.dtype[np.generic]) -> Tensor:
    """Return the start of some bytes as an array of another type, whatever its alignment."""
    if data.size == 0:
        return np.empty(0, dtype)
    return np.ndarray(1, dtype, data[:1, : dtype.itemsize])


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides))
