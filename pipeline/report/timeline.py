"""What lives where in memory while a network runs: one timeline a function of the KPU, and those of main memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.kpu.check import Checked
from pipeline.kpu.limits import KPU_MEMORY_BYTES
from pipeline.kpu.memory.fragmentation import Occupancy, last, occupancy
from pipeline.kpu.nncase.program import Function, KpuConv
from pipeline.kpu.nncase.schedule import Placed
from pipeline.report.check_rows import layer_rows, row_names, shape_text

Kind = Literal["input", "u8", "f32"]


@dataclass(frozen=True)
class Block:
    """A buffer, over the steps it lives in.

    Attributes:
        name: of its layer's row, or of the input.
        number: of the row; 0 for none.
        kind: an input that is loaded into the KPU, or the type of its elements.
        first, last: the steps it lives in, both included, counted from 0.
        buffer: where it lies.
    """

    name: str
    number: int
    kind: Kind
    first: int
    last: int
    buffer: Placed

    @property
    def text(self) -> str:
        """What it is, in a line."""
        held, kind = self.buffer, "uint8" if self.buffer.dtype == "u8" else self.buffer.dtype
        shape = shape_text(held.shape[1:] if len(held.shape) > 1 else held.shape)
        return f"{self.name}: {shape} {kind}, {held.size:,} bytes at {held.start:,}"


@dataclass(frozen=True)
class Step:
    """A moment at which something is written.

    Attributes:
        name: of what is written.
        number: of its row; 0 for none.
        moment: how full the memory is.
    """

    name: str
    number: int
    moment: Occupancy


@dataclass(frozen=True)
class Timeline:
    """A pool of memory over the steps of a function, or of the program.

    Attributes:
        title: of whose memory it is.
        what: what lives in it, "maps" or "buffers".
        steps: in running order.
        blocks: in the order of their birth.
        limit: bytes that there are; None where that depends on the firmware.
    """

    title: str
    what: str
    steps: tuple[Step, ...]
    blocks: tuple[Block, ...]
    limit: int | None

    @property
    def peak(self) -> Step:
        """The first step at which it reaches highest."""
        return max(self.steps, key=lambda step: step.moment.top)

    @property
    def most_lost(self) -> Step:
        """The first step at which most is lost to fragmentation."""
        return max(self.steps, key=lambda step: step.moment.lost_bytes)

    @property
    def needed(self) -> int:
        """Most bytes that live at once: what an allocator without gaps would get by with."""
        return max(step.moment.live_bytes for step in self.steps)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the peak is made of, and what fragmentation costs."""
        peak = self.peak
        full = peak.moment
        said = [
            f"At {peak.name} the live {self.what} sum to {full.live_bytes:,} bytes and the allocator reaches "
            f"{full.top:,}: " + (f"{full.lost_bytes:,} bytes are" if full.lost_bytes else "nothing is")
            + " lost to fragmentation."
        ]  # fmt: skip
        worst = self.most_lost
        if worst.moment.lost_bytes > full.lost_bytes:
            said.append(
                f"Most is lost at {worst.name}: {worst.moment.lost_bytes:,} of the {worst.moment.top:,} bytes reached."
            )
        if self.limit is not None and full.top > self.limit:
            over = f"It is {full.top - self.limit:,} bytes over the limit of {self.limit:,}"
            if self.needed <= self.limit:
                said.append(f"{over}, only for the gaps: never more than {self.needed:,} bytes live at once.")
            else:
                said.append(f"{over}; even without a gap {self.needed:,} bytes live at once.")
        return tuple(said)


def kpu_timelines(checked: Checked) -> tuple[Timeline, ...]:
    """Return a timeline for every function that runs on the KPU, in the order of their calls."""
    functions = [function for function in checked.prediction.program.functions if function.maps]
    names = _Names(checked)
    return tuple(
        _timeline(_title(index, len(functions), each.convs, names), "maps", _maps(each, names), KPU_MEMORY_BYTES)
        for index, each in enumerate(functions, 1)
    )


def heap_timelines(checked: Checked) -> tuple[Timeline, ...]:
    """Return the timeline of main memory between the functions, then of what functions work in beside it."""
    program, names = checked.prediction.program, _Names(checked)
    pools = [("Between functions and CPU operators", program.data)]
    pools += [(f"Inside function {index}", each.data) for index, each in enumerate(program.functions, 1)]
    return tuple(_timeline(title, "buffers", _buffers(data, names), None) for title, data in pools if data)


def highest(timelines: Sequence[Timeline]) -> Timeline | None:
    """Return the first of the timelines that reach highest; None where there is none."""
    return max(timelines, key=lambda each: each.peak.moment.top, default=None)


class _Names:
    """Rows by the labels that buffers have: the last layer of what writes them."""

    def __init__(self, checked: Checked) -> None:
        self._heads = dict(row_names(checked))
        for conv in checked.prediction.program.convs:  # may end with a layer of the convolution before it
            self._heads[conv.layers[-1]] = self._heads.get(conv.layers[0], conv.layers[0])
        self._numbers = {row.name: row.number for row in layer_rows(checked)}

    def name(self, label: str) -> str:
        return self._heads.get(label, label)

    def number(self, name: str) -> int:
        return self._numbers.get(name, 0)


@dataclass(frozen=True)
class _Named:
    """A buffer with the name of its row; ``loaded`` where the KPU gets it from main memory."""

    buffer: Placed
    name: str
    number: int
    loaded: bool = False


def _title(index: int, count: int, convs: Sequence[KpuConv], names: _Names) -> str:
    own = list(dict.fromkeys(names.name(conv.layers[0]) for conv in convs))
    reach = own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}"
    return f"Function {index} of {count}: {reach} ({len(convs)} convolution{'s' if len(convs) > 1 else ''})"


def _maps(function: Function, names: _Names) -> list[_Named]:
    """Name a function's maps.

    Those that are loaded are called like their readers, which gave their labels; the others are what the convolutions
    give, in the order in which they run.
    """
    computed = Counter(conv.layers[-1] for conv in function.convs)
    there = Counter(each.label for each in function.maps)
    convs = iter(function.convs)
    named = []
    for each in sorted(function.maps, key=lambda placed: placed.born):
        if there[each.label] > computed[each.label]:
            there[each.label] -= 1
            reader = next((conv.layers[0] for conv in function.convs if each.label == conv.layers[-1]), each.label)
            image = function.reads_image and function.uploads == 1
            named.append(_Named(each, "image" if image else f"input of {names.name(reader)}", 0, loaded=True))
        else:
            conv = next(convs, None)
            name = names.name(conv.layers[0] if conv else each.label)
            named.append(_Named(each, name, names.number(name)))
    return named


def _buffers(data: Sequence[Placed], names: _Names) -> list[_Named]:
    named = [(each, names.name(each.label)) for each in data]
    return [_Named(each, name, names.number(name)) for each, name in named]


def _timeline(title: str, what: str, named: Sequence[_Named], limit: int | None) -> Timeline:
    moments = occupancy([each.buffer for each in named])
    columns = {moment.step: index for index, moment in enumerate(moments)}
    blocks = []
    for each in sorted(named, key=lambda one: (one.buffer.born, one.buffer.start)):
        until = max(index for step, index in columns.items() if step <= last(each.buffer))
        kind: Kind = "input" if each.loaded else "f32" if each.buffer.dtype == "f32" else "u8"
        blocks.append(Block(each.name, each.number, kind, columns[each.buffer.born], until, each.buffer))
    steps = []
    for index, moment in enumerate(moments):
        written = [block for block in blocks if block.first == index]
        own = list(dict.fromkeys(block.name for block in written))
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        steps.append(Step(own[0] + more, written[0].number, moment))
    return Timeline(title, what, tuple(steps), tuple(blocks), limit)
