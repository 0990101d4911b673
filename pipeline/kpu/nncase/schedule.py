"""When each buffer of a graph lives and where it lies (kendryte/nncase v1.9.0, src/schedule)."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.kpu.memory.allocation import Buffer, place
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.kpu.nncase.buffers import SLICE
from pipeline.kpu.nncase.graph import Graph, Node, Value


@dataclass(frozen=True)
class Placed:
    """A buffer in memory.

    Attributes:
        label: the layer or tensor that it belongs to.
        size: bytes.
        start: its address in its pool.
        born: index of the node that first writes to it.
        dies: index of the last node that needs it.
        shape: of the tensor that owns it.
        dtype: of its elements.
    """

    label: str
    size: int
    start: int
    born: int
    dies: int
    shape: tuple[int, ...]
    dtype: str


class _Logical:
    """A value's buffer before buffers are shared."""

    def __init__(self, value: Value, born: int) -> None:
        self.value = value
        self.place = value.place
        self.born = born
        self.dies = born - 1
        self.parent: _Logical | None = None

    def root(self) -> _Logical:
        found = self
        while found.parent is not None:
            found = found.parent
        return found


def buffers(graph: Graph) -> dict[str, list[Placed]]:
    """Return the buffers of a graph by the pool they lie in, first-fit for "data" and "kpu", in a row for others."""
    order = graph.nodes()
    logical: dict[int, _Logical] = {}
    for index, node in enumerate(order):
        for value in node.outputs:
            logical[id(value)] = _Logical(value, index)
        for value in node.inputs:
            logical[id(value)].dies = index
    _share(order, logical)
    for each in logical.values():
        root = each.root()
        if root is not each:
            root.born, root.dies = min(root.born, each.born), max(root.dies, each.dies)
    pools: dict[str, list[_Logical]] = {}
    for each in logical.values():
        if each.parent is None:
            pools.setdefault(each.place, []).append(each)
    return {name: _placed(name, members) for name, members in pools.items()}


def _share(order: list[Node], logical: dict[int, _Logical]) -> None:
    for node in order:
        if node.op == "bitcast" and not node.action:
            source, result = logical[id(node.inputs[0])], logical[id(node.output)]
            elsewhere = source.place in ("input", "rdata", "output")
            taken = source.parent is not None and source.parent is not result
            if elsewhere or SLICE in source.value.flags or taken:
                result.parent = source
            else:
                source.parent = result
    for node in order:
        if node.op == "concat" and not node.action:
            whole = logical[id(node.output)]
            for value in node.inputs:
                part = logical[id(value)]
                part.parent, part.place = whole, whole.place
    for node in order:
        if node.op == "slice" and not node.action:
            source, result = logical[id(node.inputs[0])], logical[id(node.output)]
            result.parent, result.place = source, source.place


def _placed(pool: str, members: list[_Logical]) -> list[Placed]:
    sizes = [_size(pool, each.value) for each in members]
    waiting = [
        Buffer(size, each.born, each.dies, str(index))
        for index, (size, each) in enumerate(zip(sizes, members, strict=True))
    ]
    if pool in ("data", "kpu"):
        starts = place(waiting)
    else:
        starts, at = {}, 0
        for buffer in sorted(waiting, key=lambda b: b.born):
            starts[buffer.key] = at
            at += -(-buffer.size // 8) * 8
    return [
        Placed(_label(each.value), size, starts[str(index)], each.born, each.dies, each.value.shape, each.value.dtype)
        for index, (size, each) in enumerate(zip(sizes, members, strict=True))
    ]


def _size(pool: str, value: Value) -> int:
    if pool != "kpu":
        return value.size
    batch, channels, height, width = value.shape
    return batch * map_bytes(channels, height, width)


def _label(value: Value) -> str:
    return value.node.layers[-1] if value.node.layers else value.node.op
