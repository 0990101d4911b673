"""How full a pool of memory is, step by step, and how much of it first-fit leaves lying idle between live buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.kpu.nncase.schedule import Placed

ALIGNMENT = 8
"""Bytes that nncase rounds buffers up to (nncase v1.9.0, src/schedule/freelist.cpp)."""


@dataclass(frozen=True)
class Occupancy:
    """A pool at one step.

    Attributes:
        step: index of the node that writes.
        live: buffers that the step needs, or that a later one does, by address.
    """

    step: int
    live: tuple[Placed, ...]

    @property
    def live_bytes(self) -> int:
        """Sum of the live buffers: what no allocator could go below at this step."""
        return sum(end(buffer) - buffer.start for buffer in self.live)

    @property
    def top(self) -> int:
        """Highest byte that a live buffer reaches."""
        return max((end(buffer) for buffer in self.live), default=0)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """From where to where nothing lives below ``top``, from the lowest address on."""
        found, at = [], 0
        for buffer in self.live:
            if buffer.start > at:
                found.append((at, buffer.start))
            at = max(at, end(buffer))
        return tuple(found)

    @property
    def lost_bytes(self) -> int:
        """Sum of the gaps: lost to fragmentation."""
        return sum(stop - start for start, stop in self.gaps)


def occupancy(buffers: Sequence[Placed]) -> tuple[Occupancy, ...]:
    """Return how full a pool is at every step that brings a buffer to life; between them it only empties."""
    return tuple(
        Occupancy(step, tuple(sorted((b for b in buffers if b.born <= step <= last(b)), key=lambda b: b.start)))
        for step in sorted({buffer.born for buffer in buffers})
    )


def fullest(moments: Sequence[Occupancy]) -> Occupancy | None:
    """Return the first of the steps at which the pool reaches highest; None for a pool without buffers."""
    return max(moments, key=lambda moment: moment.top, default=None)


def end(buffer: Placed) -> int:
    """Return the first byte behind a buffer, as it is aligned."""
    return buffer.start + -(-buffer.size // ALIGNMENT) * ALIGNMENT


def last(buffer: Placed) -> int:
    """Return the last step that a buffer lives in; one that nothing reads lives in the step that writes it."""
    return max(buffer.born, buffer.dies)
