"""How a feature map lies in the KPU's memory (nncase v1.9.0, include/nncase/runtime/k210/runtime_op_utility.h:27-120).

The memory is addressed in rows of 64 bytes. Narrow maps share a row between channels.
"""

from __future__ import annotations

from dataclasses import dataclass

ROW_BYTES = 64


@dataclass(frozen=True)
class Layout:
    """The place of a map's pixels.

    Attributes:
        channels_a_row: channels side by side in one row (4, 2 or 1).
        rows_a_line: 64-byte rows of one line of one channel.
        pitch: bytes from one channel to the next within a row.
    """

    channels_a_row: int
    rows_a_line: int
    pitch: int


def layout(width: int) -> Layout:
    """Return the layout of maps of this width in pixels."""
    if width <= 16:
        return Layout(4, 1, 16)
    if width <= 32:
        return Layout(2, 1, 32)
    return Layout(1, -(-width // ROW_BYTES), ROW_BYTES)


def map_rows(channels: int, height: int, width: int) -> int:
    """Return how many 64-byte rows a map of uint8 occupies."""
    place = layout(width)
    return place.rows_a_line * height * -(-channels // place.channels_a_row)


def map_bytes(channels: int, height: int, width: int) -> int:
    """Return how many bytes of the KPU's memory a map of uint8 occupies."""
    return ROW_BYTES * map_rows(channels, height, width)
