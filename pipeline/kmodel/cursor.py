"""Reading little-endian fields from bytes, every one bounds-checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pipeline.errors import KmodelError


@dataclass
class Cursor:
    """A position in ``data`` between ``position`` and ``end``; reads move it on.

    Attributes:
        what: what is being read, for messages ("layer 3 (K210_CONV)").
    """

    data: bytes
    position: int
    end: int
    what: str

    @property
    def left(self) -> int:
        """Bytes between the position and the end."""
        return self.end - self.position

    def take(self, size: int) -> bytes:
        """Read ``size`` bytes. Raises KmodelError when fewer are left."""
        if size < 0 or size > self.left:
            raise KmodelError(
                f"the file ends, or the part does, in {self.what}: {size} bytes wanted at {self.position}, "
                f"{max(self.left, 0)} there",
                remedy="the file is truncated or damaged; fetch or compile it again",
            )
        start = self.position
        self.position += size
        return self.data[start : self.position]

    def unpack(self, layout: str) -> tuple[int, ...]:
        """Read integers by a struct layout such as "4I" (little-endian)."""
        values: tuple[int, ...] = struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))
        return values

    def u8(self) -> int:
        """Read an unsigned byte."""
        return self.unpack("B")[0]

    def u16(self) -> int:
        """Read an unsigned 16-bit integer."""
        return self.unpack("H")[0]

    def u32(self) -> int:
        """Read an unsigned 32-bit integer."""
        return self.unpack("I")[0]

    def i32(self) -> int:
        """Read a signed 32-bit integer."""
        return self.unpack("i")[0]

    def f32(self) -> float:
        """Read a 32-bit float."""
        value: float = struct.unpack("<f", self.take(4))[0]
        return value

    def count(self, least_bytes: int, name: str) -> int:
        """Read a u32 count of things at least ``least_bytes`` long each; refuse one that cannot fit what is left."""
        value = self.u32()
        if value * least_bytes > self.left:
            raise KmodelError(f"{self.what} claims {value} {name}, which do not fit the file")
        return value

    def align(self, to: int) -> None:
        """Move to the next multiple of ``to``, or to the end where that is nearer."""
        self.position = min(-(-self.position // to) * to, self.end)

    def part(self, size: int, what: str) -> Cursor:
        """Read ``size`` bytes as a cursor of their own."""
        start = self.position
        self.take(size)
        return Cursor(self.data, start, start + size, what)
