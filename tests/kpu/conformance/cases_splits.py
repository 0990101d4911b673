"""Cases: parts of a tensor that a convolution reads.

A part whose calibrated range is the whole's keeps its bytes: the KPU reads them in place. Any other part is dequantised
and quantised again. So what nncase makes of a Split depends on the calibration images, and the cases fix it: channels
that all reach both ends of a Clip have one range; channels with weaker weights do not.
"""

from __future__ import annotations

from conformance_case import Case, Row
from conformance_graph import Graph

_EQUAL = (3.0,) * 16
_UNEQUAL = (3.0,) * 8 + (0.05,) * 8
_SECOND = (0.05,) * 8 + (3.0,) * 8
_LAST_BUT_ONE = (0.05,) * 8 + (3.0,) * 4 + (0.05,) * 4


def _source(gains: tuple[float, ...] = _EQUAL, *, act: bool = True) -> Graph:
    graph = Graph().conv(16, gain=gains)
    return graph.clip(0, 1) if act else graph


def _split(graph: Graph, parts: int = 2, axis: int = 1) -> list[str]:
    first = graph.node("Split", [graph.at], outputs=parts, axis=axis).at
    return [first, *(f"{first}_{i}" for i in range(1, parts))]


def _convs(graph: Graph, parts: list[str]) -> Graph:
    """A convolution on every part; all results are outputs."""
    results = []
    for part in parts:
        graph.at = part
        results.append(graph.conv(8, act="clip").at)
    return graph.out(*results)


def _both(gains: tuple[float, ...] = _EQUAL, axis: int = 1, parts: int = 2, *, swapped: bool = False) -> Graph:
    graph = _source(gains)
    made = _split(graph, parts, axis)
    return _convs(graph, made[::-1] if swapped else made)


def _one(half: int, gains: tuple[float, ...] = _EQUAL) -> Graph:
    """A convolution on one half; nothing reads the other."""
    graph = _source(gains)
    graph.at = _split(graph)[half]
    return graph.conv(8, act="clip")


def _joined(kind: str, half: int, gains: tuple[float, ...] = _EQUAL) -> Graph:
    """One half joined with what a convolution makes of the other, as CSP and ShuffleNet have it."""
    graph = _source(gains)
    parts = _split(graph)
    graph.at = parts[half]
    inputs = [graph.conv(8, act="clip").at, parts[1 - half]]
    return graph.node("Concat", inputs, axis=1).conv(8, 1) if kind == "Concat" else graph.node(kind, inputs)


def _c2f(gains: tuple[float, ...] = _EQUAL) -> Graph:
    """The block of YOLOv8: half of the channels through a bottleneck, all parts joined."""
    graph = _source(gains)
    first, second = _split(graph)
    graph.at = second
    summed = graph.node("Add", [graph.conv(8, act="clip").conv(8, act="clip").at, second]).at
    return graph.node("Concat", [first, second, summed], axis=1).conv(16, 1, act="clip")


def _sizes(opset: int) -> Graph:
    graph = Graph(opset=opset).conv(16, gain=_EQUAL).clip(0, 1)
    if opset < 13:
        graph.node("Split", [graph.at], outputs=2, axis=1, split=[4, 12])
    else:
        graph.node("Split", [graph.at, graph.integers(4, 12)], outputs=2, axis=1)
    return _convs(graph, [graph.at])


def _image() -> Graph:
    graph = Graph(4)
    return _convs(graph, _split(graph))


def _slice(axis: int, start: int, end: int, gains: tuple[float, ...] = _EQUAL, *, conv: bool = True) -> Graph:
    graph = _source(gains)
    graph.op("Slice", graph.integers(start), graph.integers(end), graph.integers(axis))
    return graph.conv(8, act="clip") if conv else graph


def _rows_unequal(axis: int, *, split: bool = False) -> Graph:
    """A part of the map whose range is not the whole's."""
    graph = Graph(3, 32, 32).conv(8, act="leaky")
    if split:
        return _convs(graph, _split(graph, 4, axis))
    graph.op("Slice", graph.integers(8), graph.integers(16), graph.integers(axis))
    return graph.conv(8, act="clip")


def _outputs() -> Graph:
    graph = _source()
    return graph.out(*_split(graph))


CASES = [
    Case("split-first", lambda: _one(0), Row.SPLIT),
    Case("split-second", lambda: _one(1), Row.SPLIT),
    Case("split-first-unequal", lambda: _one(0, _UNEQUAL), Row.SPLIT),
    Case("split-second-unequal", lambda: _one(1, _UNEQUAL), Row.SPLIT),
    Case("split-both", _both, Row.SPLIT),
    Case("split-both-unequal", lambda: _both(_UNEQUAL), Row.SPLIT),
    *(
        Case(
            f"split-both-{name}{'-swapped' if swapped else ''}",
            lambda g=gains, s=swapped: _both(g, swapped=s),
            Row.SPLIT,
        )
        for name, gains in (("equal", _EQUAL), ("unequal", _UNEQUAL), ("second", _SECOND))
        for swapped in (False, True)
        if swapped or name == "second"
    ),
    *(
        Case(
            f"split-four-{name}{'-swapped' if swapped else ''}",
            lambda g=gains, s=swapped: _both(g, 1, 4, swapped=s),
            Row.SPLIT,
        )
        for name, gains in (("unequal", _UNEQUAL), ("second", _SECOND), ("last-but-one", _LAST_BUT_ONE))
        for swapped in (False, True)
    ),
    Case("split-four", lambda: _both(parts=4), Row.SPLIT),
    Case("split-rows", lambda: _both(axis=2), Row.SPLIT),
    Case("split-columns", lambda: _both(axis=3), Row.SPLIT),
    Case("split-sizes", lambda: _sizes(13), Row.SPLIT),
    Case("split-sizes-opset-11", lambda: _sizes(11), Row.SPLIT),
    Case("split-image", _image, Row.SPLIT),
    *(
        Case(f"split-{kind.lower()}-{name}", lambda kind=kind, half=half: _joined(kind, half), Row.SPLIT)
        for kind in ("Add", "Concat", "Mul")
        for half, name in enumerate(("first", "second"))
    ),
    Case("split-add-second-unequal", lambda: _joined("Add", 1, _UNEQUAL), Row.SPLIT),
    Case("split-c2f", _c2f, Row.SPLIT),
    Case("split-c2f-unequal", lambda: _c2f(_UNEQUAL), Row.SPLIT),
    Case("split-outputs", _outputs),
    Case("slice-first", lambda: _slice(1, 0, 8), Row.SPLIT),
    Case("slice-second", lambda: _slice(1, 8, 16), Row.SPLIT),
    Case("slice-second-unequal", lambda: _slice(1, 8, 16, _UNEQUAL), Row.SPLIT),
    Case("slice-rows", lambda: _slice(2, 0, 8)),
    Case("slice-rows-second", lambda: _slice(2, 8, 16)),
    Case("split-rows-unequal", lambda: _rows_unequal(2, split=True), Row.SPLIT),
    Case("split-columns-unequal", lambda: _rows_unequal(3, split=True), Row.SPLIT),
    Case("slice-rows-unequal", lambda: _rows_unequal(2)),
    Case("slice-columns-unequal", lambda: _rows_unequal(3)),
    Case("slice-columns", lambda: _slice(3, 0, 8)),
    Case("slice-rows-output", lambda: _slice(2, 4, 12, conv=False)),
    Case("slice-channels-output", lambda: _slice(1, 4, 12, conv=False)),
]
