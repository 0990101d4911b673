"""What a running program sees: byte arrays for the general memories, and maps in feature-map memory.

Every array has one row an image, so that a program runs over a batch. Feature-map memory holds maps as the convolutions
want them (``KpuMap``), not bytes: a layer nearly always reads just what another wrote. Only where it does not (a
concatenation by adjacent addresses, say) are maps laid out as the bytes that the chip would have, and read from there.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import KmodelError
from pipeline.kmodel.memory import KPU_MEMORY_BYTES, KpuLayout, Location, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.registers import ROW_BYTES

Codes = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.generic]


class KpuMap(Protocol):
    """uint8 maps, N×C×H×W in meaning; how they are stored is their backend's business."""

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


class KpuMemory:
    """Feature-map memory of a batch of images. Addresses are bytes, multiples of 64."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._maps: dict[int, KpuMap] = {}
        self._bytes: Codes | None = None
        self._written = np.zeros(KPU_MEMORY_BYTES // ROW_BYTES, np.bool_)

    def write(self, start: int, value: KpuMap) -> None:
        """Put maps at an address; what they cover is gone."""
        end = start + _bytes_of(value)
        if start < 0 or end > KPU_MEMORY_BYTES:
            raise KmodelError(f"a map at bytes {start} to {end} leaves the KPU's {KPU_MEMORY_BYTES} bytes of memory")
        for other, old in list(self._maps.items()):
            old_end = other + _bytes_of(old)
            if other < end and start < old_end:
                if other < start or old_end > end:  # a part of it stays
                    self._lay_out(other, old)
                del self._maps[other]
        self._maps[start] = value
        self._written[start // ROW_BYTES : -(-end // ROW_BYTES)] = True

    def read(self, start: int, channels: int, height: int, width: int) -> KpuMap:
        """Return the maps of a shape at an address.

        Raises:
            KmodelError: nothing has written there.
        """
        found = self._maps.get(start)
        if found is not None and found.shape[1:] == (channels, height, width):
            return found
        layout = KpuLayout.of_width(width)
        end = start + layout.map_bytes(channels, height)
        if start < 0 or end > KPU_MEMORY_BYTES:
            raise KmodelError(f"bytes {start} to {end} leave the KPU's {KPU_MEMORY_BYTES} bytes of memory")
        if not self._written[start // ROW_BYTES : end // ROW_BYTES].all():
            raise KmodelError(f"a step reads KPU memory from byte {start} on that nothing has written")
        for other, old in self._maps.items():
            if other < end and start < other + _bytes_of(old):
                self._lay_out(other, old)
        return PlainMap(np.ascontiguousarray(self._laid_out()[:, _addresses(start, channels, height, width)]))

    def _laid_out(self) -> Codes:
        if self._bytes is None:
            self._bytes = np.zeros((self.images, KPU_MEMORY_BYTES), np.uint8)
        return self._bytes

    def _lay_out(self, start: int, value: KpuMap) -> None:
        self._laid_out()[:, _addresses(start, *value.shape[1:])] = value.codes()


def _bytes_of(value: KpuMap) -> int:
    _, channels, height, width = value.shape
    return KpuLayout.of_width(width).map_bytes(channels, height)


def _addresses(start: int, channels: int, height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the byte of each pixel (c, y, x); see ``KpuLayout``."""
    layout = KpuLayout.of_width(width)
    c, y, x = np.ogrid[:channels, :height, :width]
    line = layout.row_length * ROW_BYTES
    return start + (c // layout.group) * line * height + (c % layout.group) * layout.pitch + y * line + x  # type: ignore[no-any-return]


class Memory:
    """All memories of a program over a batch of images."""

    def __init__(self, kmodel: Kmodel, images: int) -> None:
        self.images = images
        self.kpu = KpuMemory(images)
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
        reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1 if 0 not in shape else 0
        end = part.start + reach * dtype.itemsize
        if part.start < 0 or end > memory.shape[1] or min(strides, default=0) < 0:
            raise KmodelError(
                f"a tensor at bytes {part.start} to {end} leaves its memory ({part.location.value}, "
                f"{memory.shape[1]} bytes)"
            )
        byte_strides = (memory.strides[0], *(stride * dtype.itemsize for stride in strides))
        typed = memory[:, part.start : end]
        return np.lib.stride_tricks.as_strided(  # type: ignore[no-any-return, call-overload]
            _first_as(typed, dtype), (self.images, *shape), byte_strides, writeable=part.location is not Location.CONST
        )

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
