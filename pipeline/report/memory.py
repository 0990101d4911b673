"""The timelines of memory as a page shows them: those that matter open, the others folded away."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.kpu import limits
from pipeline.kpu.check import Checked
from pipeline.report.timeline import Timeline, heap_timelines, kpu_timelines
from pipeline.report.timeline_drawing import Drawing, drawing

_OPEN = 8
"""Functions that are shown at once, those that reach highest; the others are folded away."""

Drawn = tuple[Timeline, Drawing]


@dataclass(frozen=True)
class Memory:
    """What lives where while a network runs.

    Attributes:
        kpu_limit: bytes of the KPU's memory.
        functions: of the KPU, in the order of their calls; those that reach highest.
        folded: the other functions.
        heap: main memory between the functions, then what functions work in.
        heap_bytes: all main memory beside the file.
        beside: bytes of it that the first timeline of main memory does not show.
    """

    kpu_limit: int
    functions: tuple[Drawn, ...]
    folded: tuple[Drawn, ...]
    heap: tuple[Drawn, ...]
    heap_bytes: int
    beside: int


def memory_of(checked: Checked) -> Memory:
    """Return the timelines of a checked network, drawn."""
    functions, heap = kpu_timelines(checked), heap_timelines(checked)
    shown = sorted(functions, key=lambda each: -each.peak.moment.top)[:_OPEN]
    prediction = checked.prediction
    first = heap[0].peak.moment.top if heap and prediction.program.data else 0
    return Memory(
        limits.KPU_MEMORY_BYTES,
        tuple((each, drawing(each)) for each in functions if each in shown),
        tuple((each, drawing(each)) for each in functions if each not in shown),
        tuple((each, drawing(each)) for each in heap),
        prediction.heap_bytes,
        prediction.heap_bytes - first,
    )
