"""Which operators become one function of the KPU (kendryte/nncase v1.9.0, src/ir/graph.cpp, merge_module_regions).

A region is a set of operators of one module, the stack machine or the KPU. KPU regions that feed each other merge, and
reshapes, slices and concats that do no work join the KPU region around them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.kpu.nncase.graph import Graph, Node, Value, connect, walk

KPU_OPS = frozenset({"kpu_upload", "kpu_conv2d", "kpu_download"})

_OUTSIDE = frozenset({"input", "output", "constant"})
_DEEPEST = 10


@dataclass(eq=False)
class Region:
    """Operators that may run together.

    Attributes:
        kpu: whether they are the KPU's; else the stack machine's.
        nodes: in the order in which they joined.
        idle: whether none of them does work.
    """

    kpu: bool
    nodes: list[Node] = field(default_factory=list)
    idle: bool = True

    def add(self, node: Node) -> None:
        """Let a node join."""
        self.nodes.append(node)
        self.idle = self.idle and not node.action


class _Regions:
    """All regions, in nncase's order, and which region a node is in."""

    def __init__(self, graph: Graph) -> None:
        self.all: list[Region] = []
        self.of: dict[int, Region] = {}
        for node in graph.nodes():
            if node.op not in _OUTSIDE:
                self._place(node)

    def _place(self, node: Node) -> None:
        last: Region | None = None
        for value in node.inputs:
            if value.node.op == "constant":
                last = None
                break
            found = self.of.get(id(value.node))
            if found is None:
                continue
            if last is not None and last is not found:
                last = None
                break
            last = found
        kpu = node.op in KPU_OPS
        if last is None or last.kpu != kpu:
            last = Region(kpu)
            self.all.append(last)
        last.add(node)
        self.of[id(node)] = last

    def sources(self, region: Region) -> list[Value]:
        """Return what a region reads from outside, each time it does."""
        return [
            value
            for node in region.nodes
            for value in node.inputs
            if value.node.op != "constant" and self.of.get(id(value.node)) is not region
        ]

    def readers(self, region: Region) -> list[Region | None]:
        """Return who reads a region's results outside of it; None stands for the network's output."""
        return [
            self.of.get(id(user))
            for node in region.nodes
            for value in node.outputs
            for user, _ in value.users
            if self.of.get(id(user)) is not region
        ]

    def merge(self, into: Region, other: Region) -> None:
        """Let all nodes of a region join another."""
        for node in other.nodes:
            into.add(node)
            self.of[id(node)] = into
        self.all.remove(other)


def kpu_regions(graph: Graph) -> list[Region]:
    """Return the regions that become functions of the KPU, in nncase's order."""
    regions = _Regions(graph)
    changed = True
    while changed:
        changed = False
        for step in (_merge_children, _merge_parents, _merge_same_inputs):
            while step(regions):
                changed = True
    while _merge_some_children(regions):
        pass
    return [region for region in regions.all if region.kpu]


def _merge_children(regions: _Regions) -> bool:
    """Merge regions that read nothing but one other's results into that one."""
    parents = {id(region): _only_parent(regions, region) for region in regions.all}
    changed = False
    while True:
        having = {id(parent) for parent in parents.values() if parent is not None}
        region = next((region for region in regions.all if id(region) in having), None)
        if region is None:
            return changed
        changed = True
        around = [region]
        for child in [other for other in regions.all if parents[id(other)] is region]:
            around += [reader for reader in regions.readers(child) if reader is not None]
            regions.merge(region, child)
            del parents[id(child)]
        # Only what was merged, and who reads it, can have another parent than before.
        for other in around:
            if id(other) in parents:
                parents[id(other)] = _only_parent(regions, other)


def _only_parent(regions: _Regions, region: Region) -> Region | None:
    """Return the one region whose results ``region`` reads, where they may merge."""
    if not (region.kpu or region.idle):
        return None
    parent: Region | None = None
    for value in regions.sources(region):
        before = regions.of.get(id(value.node))
        if before is None or (parent is not None and before is not parent):
            return None
        parent = before
    if parent is not None and (parent.kpu or region.kpu) and (parent.kpu == region.kpu or region.idle):
        return parent
    return None


def _merge_parents(regions: _Regions) -> bool:
    """Merge regions that do no work, and that only one KPU region reads, into that one."""
    for region in regions.all:
        if not region.kpu:
            continue
        parents = [
            other
            for other in regions.all
            if other is not region and other.idle and all(r is region for r in regions.readers(other))
        ]
        for parent in parents:
            regions.merge(region, parent)
        if parents:
            return True
    return False


def _merge_same_inputs(regions: _Regions) -> bool:
    """Merge KPU regions that read the same values."""
    by_sources: dict[frozenset[int], list[Region]] = {}
    for region in regions.all:
        if region.kpu:
            by_sources.setdefault(frozenset(id(v) for v in regions.sources(region)), []).append(region)
    for region in regions.all:
        if not region.kpu:
            continue
        same = by_sources[frozenset(id(v) for v in regions.sources(region))]
        if len(same) > 1:
            for other in same:
                if other is not region:
                    regions.merge(region, other)
            return True
    return False


def _merge_some_children(regions: _Regions) -> bool:
    """Merge KPU regions that read some of another's results into it, where no other work lies between."""
    for region in regions.all:
        if not region.kpu:
            continue
        children = []
        for other in regions.all:
            if other is region or not (other.kpu or other.idle):
                continue
            sources = regions.sources(other)
            if any(regions.of.get(id(v.node)) is region for v in sources) and _no_work_between(regions, region, other):
                children.append(other)
        for child in children:
            regions.merge(region, child)
        if children:
            return True
    return False


def _no_work_between(regions: _Regions, region: Region, other: Region) -> bool:
    """Whether every way from ``region`` to ``other`` is free of the stack machine's work."""
    if all(reader is other for reader in regions.readers(region)):
        return True
    if len(regions.sources(other)) == 1:
        return True
    return not _reaches(regions, other, region, 0, {})


def _reaches(regions: _Regions, at: Region, target: Region, depth: int, known: dict[tuple[int, int], bool]) -> bool:
    """Whether work lies on a way back to ``target``, or the way is too long to be looked at."""
    if at is target:
        return False
    if depth >= _DEEPEST:
        return True
    key = (id(at), depth)
    if key not in known:
        known[key] = False
        own_work = not at.kpu and not at.idle
        for value in regions.sources(at):
            before = regions.of.get(id(value.node))
            if before is None:
                continue
            if (own_work and _leads_to(regions, before, target)) or _reaches(regions, before, target, depth + 1, known):
                known[key] = True
                break
    return known[key]


def _leads_to(regions: _Regions, at: Region, target: Region) -> bool:
    seen, stack = {id(at)}, [at]
    while stack:
        region = stack.pop()
        if region is target:
            return True
        for value in regions.sources(region):
            before = regions.of.get(id(value.node))
            if before is not None and id(before) not in seen:
                seen.add(id(before))
                stack.append(before)
    return False


@dataclass(eq=False)
class Function:
    """A region cut out as a graph of its own.

    Attributes:
        call: the node that stands for it in the main graph.
        graph: what it does.
    """

    call: Node
    graph: Graph


def cut_functions(graph: Graph) -> list[Function]:
    """Replace every KPU region by a call, and return the functions that are called (``graph::split_subgraph``)."""
    functions = []
    for region in kpu_regions(graph):
        functions.append(_cut(graph, region))
    return functions


def _cut(graph: Graph, region: Region) -> Function:
    inside = {id(node) for node in region.nodes}
    call = Node("call", tuple(dict.fromkeys(layer for node in region.nodes for layer in node.layers)), {})
    function = Graph()
    entries: dict[int, Value] = {}
    leaving: list[tuple[int, Value]] = []
    order = {id(node): index for index, node in enumerate(graph.outputs)}
    for node in region.nodes:
        for index, value in enumerate(node.inputs):
            if id(value.node) in inside or value.node.op == "constant":
                continue
            if id(value) not in entries:
                entry = Node("input", value.node.layers, {})
                given = Value(entry, value.shape, value.dtype)
                given.place = "input"
                entry.outputs.append(given)
                function.inputs.append(entry)
                entries[id(value)] = given
                value.users.append((call, len(call.inputs)))
                call.inputs.append(value)
            connect(node, index, entries[id(value)])
        for value in node.outputs:
            outside = [use for use in value.users if id(use[0]) not in inside]
            if outside:
                final = [order[id(user)] for user, _ in outside if user.op == "output"]
                # Results that are the network's own come last, in its order.
                leaving.append((final[0] if final else -1, value))
    for _, value in sorted(leaving, key=lambda entry: entry[0]):
        result = Value(call, value.shape, value.dtype)
        result.flags = set()
        call.outputs.append(result)
        exit_ = Node("output", value.node.layers, {})
        for user, index in [use for use in value.users if id(use[0]) not in inside]:
            connect(user, index, result)
        value.users.append((exit_, 0))
        exit_.inputs.append(value)
        function.outputs.append(exit_)
    return Function(call, function)


__all__ = ["Function", "Region", "cut_functions", "kpu_regions", "walk"]
