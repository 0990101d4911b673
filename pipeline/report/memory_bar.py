"""What the kmodel takes of the firmware's memory, as a bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.results import RunResults


@dataclass(frozen=True)
class Segment:
    """A part of the memory bar: its name, bytes and share of the whole width (0 to 100)."""

    name: str
    size: int
    width: float


@dataclass(frozen=True)
class MemoryBar:
    """What the kmodel takes, against what it may take.

    Attributes:
        segments: from the left, one behind the other.
        limit: bytes that a model may take.
        limit_width: where the limit stands, in percent of the whole width.
        needed: bytes that it takes.
        limit_by: "documented" or "sum".
    """

    segments: tuple[Segment, ...]
    limit: int
    limit_width: float
    needed: int
    limit_by: str


def memory_bar(results: RunResults) -> MemoryBar | None:
    """Return the kmodel's memory against the firmware's, from the gate's memory check."""
    check = results.check("memory")
    verdict: Mapping[str, Any] = results.verdict or {}
    needed, limit = check.get("needed_bytes"), check.get("limit_bytes")
    if not isinstance(needed, int) or not isinstance(limit, int) or max(needed, limit) <= 0:
        return None
    whole = 100 / max(needed, limit)
    parts = [("file", verdict.get("kmodel_bytes")), ("main memory", verdict.get("heap_bytes"))]
    known = [(name, size) for name, size in parts if isinstance(size, int) and 0 < size <= needed]
    if sum(size for _, size in known) > needed:  # streamed from flash: the file is not in memory
        known = [(name, size) for name, size in known if name != "file"]
    rest = needed - sum(size for _, size in known)
    known += [("loader", rest)] if rest > 0 else []
    segments = tuple(Segment(name, size, size * whole) for name, size in known)
    return MemoryBar(segments, limit, limit * whole, needed, str(check.get("limit_by", "")))
