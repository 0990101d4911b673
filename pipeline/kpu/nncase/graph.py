"""A graph of operators as nncase's ``ir::graph``: nodes, the tensors they give, and who reads them, in order.

Order matters: nncase walks a graph depth first from its outputs, inputs in order, and what it decides (running order,
order of a function's outputs) follows from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Shape = tuple[int, ...]

F32, F64, U8, U64, I32, I64 = "f32", "f64", "u8", "u64", "i32", "i64"
ITEM_BYTES = {F32: 4, F64: 8, U8: 1, U64: 8, I32: 4, I64: 8, "i8": 1, "i16": 2, "u16": 2, "u32": 4, "f16": 2, "bf16": 2}


class Value:
    """A tensor that a node gives.

    Attributes:
        node: the node that gives it.
        shape: with batch 1.
        dtype: one of ``ITEM_BYTES``.
        users: (node, input index) that read it, in the order in which they were connected.
        range: which calibrated range it has; equal ranges mean equal scale and zero point.
        quantised: whether nncase marked it as one whose range it needs.
        flags: marks of the buffer passes.
        place: where its buffer lies ("data", "output", "input", "rdata", "kpu").
    """

    __slots__ = ("dtype", "flags", "node", "place", "quantised", "range", "shape", "users")

    def __init__(self, node: Node, shape: Shape, dtype: str) -> None:
        self.node = node
        self.shape = shape
        self.dtype = dtype
        self.users: list[tuple[Node, int]] = []
        self.range: object = self
        self.quantised = False
        self.flags: set[str] = set()
        self.place = "data"

    @property
    def size(self) -> int:
        """Bytes as a dense tensor."""
        size = ITEM_BYTES[self.dtype]
        for length in self.shape:
            size *= length
        return size


class Node:
    """An operator.

    Attributes:
        op: nncase's name of it, in lower case with underscores.
        inputs: the values it reads.
        outputs: the values it gives.
        layers: names of the network's layers that it comes from.
        settings: what else it is (padding, strides, …), by name.
        action: whether it does work; a reshape does not, once its buffer is its input's.
    """

    __slots__ = ("action", "inputs", "layers", "op", "outputs", "settings")

    def __init__(self, op: str, layers: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.op = op
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.layers = layers
        self.settings = settings
        self.action = True

    def __getitem__(self, name: str) -> Any:
        return self.settings[name]

    @property
    def output(self) -> Value:
        """Its first output."""
        return self.outputs[0]

    def child(self, op: str) -> Node | None:
        """Return the first reader that is an ``op`` (``try_get_direct_child``)."""
        for value in self.outputs:
            for user, _ in value.users:
                if user.op == op:
                    return user
        return None

    def parent(self, op: str, index: int | None = None) -> Node | None:
        """Return what gives input ``index`` (or the first of all) if it is an ``op`` (``try_get_direct_parent``)."""
        for value in self.inputs if index is None else self.inputs[index : index + 1]:
            if value.node.op == op:
                return value.node
        return None


class Graph:
    """A network on its way through the compiler.

    Attributes:
        inputs: its input nodes.
        outputs: its output nodes, in order.
    """

    def __init__(self) -> None:
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []

    def add(
        self,
        op: str,
        inputs: Sequence[Value],
        shape: Shape,
        dtype: str = F32,
        layers: Iterable[str] = (),
        **settings: Any,
    ) -> Value:
        """Append a node and return what it gives."""
        node = Node(op, tuple(dict.fromkeys(layers)), settings)
        for value in inputs:
            value.users.append((node, len(node.inputs)))
            node.inputs.append(value)
        node.outputs.append(Value(node, shape, dtype))
        return node.outputs[0]

    def constant(self, shape: Shape, dtype: str = F32, value: float | None = None, key: object = None) -> Value:
        """Append a constant: of one value that is known, or of some that only ``key`` tells apart."""
        result = self.add("constant", (), shape, dtype, value=value, key=key if key is not None else object())
        result.place = "rdata"
        return result

    def nodes(self) -> list[Node]:
        """Return every node that an output needs, depth first, each behind what it reads."""
        return list(walk(self.outputs))


def walk(outputs: Iterable[Node]) -> Iterator[Node]:
    """Yield nodes depth first and in post order, inputs in order (``dfs_ir_post_order_visitor``)."""
    seen: set[int] = set()
    for output in outputs:
        stack = [(output, 0)]
        if id(output) in seen:
            continue
        seen.add(id(output))
        while stack:
            node, at = stack.pop()
            if at < len(node.inputs):
                stack.append((node, at + 1))
                below = node.inputs[at].node
                if id(below) not in seen:
                    seen.add(id(below))
                    stack.append((below, 0))
            else:
                yield node


def connect(node: Node, index: int, value: Value) -> None:
    """Let input ``index`` of ``node`` read ``value``, as its last reader."""
    node.inputs[index].users.remove((node, index))
    node.inputs[index] = value
    value.users.append((node, index))


def redirect(old: Value, new: Value) -> None:
    """Let all readers of ``old`` read ``new``, behind its present ones."""
    for node, index in list(old.users):
        node.inputs[index] = new
        new.users.append((node, index))
    old.users.clear()


def prune(graph: Graph) -> None:
    """Forget readers that no output needs (``graph::dce``)."""
    nodes = graph.nodes()
    kept = {id(node) for node in nodes}
    for node in nodes:
        for value in node.outputs:
            if any(id(user) not in kept for user, _ in value.users):
                value.users = [use for use in value.users if id(use[0]) in kept]


_UNIQUE = frozenset({"input", "output", "call", "copy"})


def merge_equal(graph: Graph) -> None:
    """Merge nodes that compute the same from the same (``graph::cse``), until there are none."""
    merged = True
    while merged:
        merged = False
        known: dict[tuple[object, ...], Node] = {}
        for node in graph.nodes():
            if node.op in _UNIQUE:
                continue
            key = (node.op, node.output.shape, node.output.dtype, *map(id, node.inputs), *_settings(node))
            first = known.setdefault(key, node)
            if first is not node:
                redirect(node.output, first.output)
                merged = True
        if merged:
            prune(graph)


def _settings(node: Node) -> tuple[object, ...]:
    plain = ((name, value) for name, value in node.settings.items() if name != "range")
    return (*plain, id(node.settings.get("range")))
