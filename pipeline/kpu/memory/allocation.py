"""First-fit allocation, as nncase 1.9 plans both the KPU's memory and the main-memory heap.

Every buffer is placed at the lowest address where it fits, at the moment it comes to life (nncase v1.9.0,
src/schedule/freelist.cpp), so fragmentation counts: maps of 1.0, 0.5 and 1.3 MiB in a row need more than 2 MiB
although each pair fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Buffer:
    """A piece of memory and the time it is needed.

    Attributes:
        size: bytes.
        born: the step that writes it first.
        dies: the last step that reads it (the step itself still needs it).
        key: what the buffer is, for whoever asks where it went.
    """

    size: int
    born: int
    dies: int
    key: str = ""


def place(buffers: Iterable[Buffer], alignment: int = 8) -> dict[str, int]:
    """Return the address of every buffer by its key, first-fit in the order of birth (ties: as given)."""
    live: list[tuple[int, int, int]] = []  # address, end, last step; sorted by address
    addresses: dict[str, int] = {}
    for buffer in sorted(buffers, key=lambda b: b.born):
        live = [held for held in live if held[2] >= buffer.born]
        size = -(-buffer.size // alignment) * alignment
        address = 0
        for start, end, _ in live:
            if start - address >= size:
                break
            address = max(address, end)
        addresses[buffer.key] = address
        live.append((address, address + size, buffer.dies))
        live.sort()
    return addresses


def peak(buffers: Iterable[Buffer], alignment: int = 8) -> int:
    """Return the highest address, in bytes, that first-fit allocation of ``buffers`` reaches."""
    every = list(buffers)
    addresses = place(every, alignment)
    return max((addresses[b.key] + -(-b.size // alignment) * alignment for b in every), default=0)
