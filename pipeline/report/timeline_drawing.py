"""Where everything of a timeline lies on the page; the template only writes it down as SVG. Lengths are pixels."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.timeline import Block, Timeline

_LEFT, _RIGHT, _TOP, _HEIGHT = 66.0, 112.0, 22.0, 300.0
_LETTER = 6.6
"""Width of a letter of 11 px, on the safe side."""
_LONGEST_NAME = 26
_WIDEST = 860.0
_KIB = 1024


@dataclass(frozen=True)
class Box:
    """A rectangle with what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Label:
    """A piece of text; ``upright`` ones run from the bottom to the top."""

    x: float
    y: float
    text: str
    upright: bool = False


@dataclass(frozen=True)
class Line:
    """A horizontal line across the plot, with its label at one end."""

    y: float
    label: Label


@dataclass(frozen=True)
class Drawing:
    """A timeline as shapes.

    Attributes:
        width, height: of the whole.
        left, right, bottom: of the plot; its top is where the highest address would be.
        blocks: live buffers.
        gaps: what lies idle between them.
        names: inside the blocks, where they fit.
        steps: below the plot.
        ticks: addresses.
        limit: None where it is not known, or above the plot.
        peak: the highest address that is reached.
        band: the step of the peak.
        note: what the plot leaves out, or "".
    """

    width: float
    height: float
    left: float
    right: float
    bottom: float
    blocks: tuple[Box, ...]
    gaps: tuple[Box, ...]
    names: tuple[Label, ...]
    steps: tuple[Label, ...]
    ticks: tuple[Line, ...]
    limit: Line | None
    peak: Line
    band: Box
    note: str


def drawing(timeline: Timeline) -> Drawing:
    """Return the shapes of a timeline.

    The limit is drawn where the maps come near it; else the plot shows only the memory that is used.
    """
    top, limit = timeline.peak.moment.top, timeline.limit
    shows_limit = limit is not None and top * 3 > limit
    highest = max(top, limit if limit is not None and shows_limit else 0) * 1.04
    column = min(max(_WIDEST / len(timeline.steps), 24.0), 84.0)
    right, bottom = _LEFT + column * len(timeline.steps), _TOP + _HEIGHT

    def y(address: float) -> float:
        return bottom - _HEIGHT * address / highest

    def box(first: int, last: int, start: int, stop: int, kind: str, title: str) -> Box:
        left, high, low = _LEFT + column * first, y(stop), y(start)
        return Box(left + 0.5, high, column * (last - first + 1) - 1, max(low - high, 1.0), kind, title)

    blocks = tuple(
        box(each.first, each.last, each.buffer.start, each.buffer.start + each.buffer.size, each.kind, _title(each))
        for each in timeline.blocks
    )
    names = [_name(each, shape) for each, shape in zip(timeline.blocks, blocks, strict=True)]
    at = timeline.steps.index(timeline.peak)
    steps = tuple(
        Label(_LEFT + column * (index + 0.5) + 4, bottom + 6, _step_text(step.number, step.name), upright=True)
        for index, step in enumerate(timeline.steps)
    )
    deepest = max(len(step.text) for step in steps) * _LETTER
    limit_line = None
    if limit is not None and shows_limit:
        crowded = abs(y(limit) - y(top)) < 13
        shift = (12 if top > limit else -4) if crowded else 4
        limit_line = Line(y(limit), Label(right + 6, y(limit) + shift, f"limit {limit / _KIB:,.0f} KiB"))
        peak_shift = (-4 if top > limit else 12) if crowded else 4
    else:
        peak_shift = 4
    return Drawing(
        width=right + _RIGHT,
        height=bottom + deepest + 14,
        left=_LEFT,
        right=right,
        bottom=bottom,
        blocks=blocks,
        gaps=tuple(box(*gap, "gap", f"{gap[3] - gap[2]:,} bytes idle at {gap[2]:,}") for gap in _gaps(timeline)),
        names=tuple(name for name in names if name is not None),
        steps=steps,
        ticks=tuple(Line(y(at), Label(_LEFT - 6, y(at) + 4, _size(at))) for at in _ticks(int(highest))),
        limit=limit_line,
        peak=Line(y(top), Label(right + 6, y(top) + peak_shift, f"peak {top / _KIB:,.1f} KiB")),
        band=box(at, at, 0, int(highest), "band", ""),
        note=_off_the_plot(top, limit) if limit is not None and not shows_limit else "",
    )


def _off_the_plot(top: int, limit: int) -> str:
    return f"The limit of {limit:,} bytes is {limit / top:,.0f} times the peak and above the plot."


def _gaps(timeline: Timeline) -> list[tuple[int, int, int, int]]:
    """Return first and last step, start and end of what lies idle; one that stays the same is one."""
    closed: list[tuple[int, int, int, int]] = []
    open_since: dict[tuple[int, int], int] = {}
    for index, step in enumerate(timeline.steps):
        now = set(step.moment.gaps)
        for gap in [gap for gap in open_since if gap not in now]:
            closed.append((open_since.pop(gap), index - 1, *gap))
        for gap in now:
            open_since.setdefault(gap, index)
    closed += [(since, len(timeline.steps) - 1, *gap) for gap, since in open_since.items()]
    return sorted(closed)


def _name(block: Block, shape: Box) -> Label | None:
    """Its name where there is room, lying or upright; else the number of its row; else nothing."""
    length = len(block.name) * _LETTER + 6
    middle_x, middle_y = shape.x + shape.width / 2, shape.y + shape.height / 2
    if length <= shape.width and shape.height >= 13:
        return Label(middle_x, middle_y + 4, block.name)
    if length <= shape.height and shape.width >= 13:
        return Label(middle_x + 4, middle_y, block.name, upright=True)
    short = f"#{block.number}" if block.number else "in" if block.kind == "input" else ""
    if short and len(short) * _LETTER + 4 <= shape.width and shape.height >= 13:
        return Label(middle_x, middle_y + 4, short)
    return None


def _title(block: Block) -> str:
    return (f"#{block.number} " if block.number else "") + block.text


def _step_text(number: int, name: str) -> str:
    if len(name) > _LONGEST_NAME:
        half = (_LONGEST_NAME - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return f"{number} {name}" if number else name


def _ticks(highest: int) -> list[int]:
    step = 64
    while highest / step > 5:
        step *= 2
    return list(range(0, highest + 1, step))


def _size(size: int) -> str:
    for unit, name in ((_KIB * _KIB, "MiB"), (_KIB, "KiB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} B"
