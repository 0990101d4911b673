"""The program that nncase 1.9 makes of a network: KPU convolutions, CPU operators between them, in running order.

Convolutions that feed each other without a CPU operator between form a *function* of the kmodel's k210 module, which
the stackvm module calls between its CPU operators.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from pipeline.kpu.allocation import Buffer, peak
from pipeline.kpu.feature_map import map_bytes
from pipeline.kpu.limits import MIN_SIDE
from pipeline.kpu.shapes import Shape

CONSTANT_ALIGNMENT = 8


@dataclass(frozen=True)
class Value:
    """A tensor of the program.

    Attributes:
        shape: with batch 1.
        item_bytes: 1 for uint8, 4 for float.
        within: the value whose memory this one is a part of (an input of a concat), or "".
    """

    shape: Shape
    item_bytes: int
    within: str = ""

    @property
    def size(self) -> int:
        """Bytes in main memory."""
        return math.prod(self.shape) * self.item_bytes


@dataclass(frozen=True)
class KpuConv:
    """What a KPU convolution holds: channels, kernel side, whether depthwise."""

    in_channels: int
    out_channels: int
    kernel: int
    depthwise: bool

    @property
    def weight_bytes(self) -> int:
        """uint8 weights, without batch-norm and activation."""
        return self.kernel**2 * self.out_channels * (1 if self.depthwise else self.in_channels)


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: "kpu", or the stackvm operator's name in lower case.
        layer: name of the network's layer it comes from.
        inputs: values it reads.
        output: the value it writes.
        conv: of kind "kpu".
        constants: bytes of each constant that a CPU operator carries.
        text_bytes: of its code in the stackvm module.
        copies: for "kpu": how many copies the function makes itself to crop and reshape a map padded to 4×4.
    """

    kind: str
    layer: str
    inputs: tuple[str, ...]
    output: str
    conv: KpuConv | None = None
    constants: tuple[int, ...] = ()
    text_bytes: int = 0
    copies: int = 0


@dataclass(frozen=True)
class Function:
    """Convolutions that run on the KPU without the CPU between them.

    Attributes:
        source: the uint8 value that is uploaded.
        convs: in running order.
        outputs: values that are downloaded.
    """

    source: str
    convs: tuple[Node, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A network lowered for the K210.

    Attributes:
        input: the uint8 image.
        outputs: values that leave the program, in the network's order.
        values: of every tensor.
        steps: functions (called) and CPU operators, in running order.
    """

    input: str
    outputs: tuple[str, ...]
    values: dict[str, Value]
    steps: tuple[Function | Node, ...]

    @property
    def functions(self) -> tuple[Function, ...]:
        """The functions in the order of their calls."""
        return tuple(step for step in self.steps if isinstance(step, Function))

    @property
    def cpu_nodes(self) -> tuple[Node, ...]:
        """The CPU operators in running order."""
        return tuple(step for step in self.steps if isinstance(step, Node))


def schedule(nodes: dict[str, Node], values: dict[str, Value], source: str, outputs: tuple[str, ...]) -> Program:
    """Put nodes (by the value they write) in nncase's running order: inputs first, first input first."""
    functions = _functions(nodes, outputs)
    by_value = {conv.output: function for function in functions.values() for conv in function.convs}
    parts: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        if value.within:
            parts[value.within].append(name)
    steps: list[Function | Node] = []
    done: set[str] = {source}
    stack = [(name, False) for name in reversed(outputs)]
    while stack:
        name, ready = stack.pop()
        if name in done and not ready:
            continue
        function, node = by_value.get(name), nodes.get(name)
        if ready:
            step = function or node
            if step is not None:
                steps.append(step)
            continue
        done.add(name)
        if function is not None:
            done.update(conv.output for conv in function.convs)
        needed = (function.source,) if function else node.inputs if node else tuple(parts[name])
        stack.append((name, True))
        stack.extend((n, False) for n in reversed(needed))
    return Program(source, outputs, values, tuple(steps))


def heap_bytes(program: Program, placed: Collection[str] = ()) -> int:
    """Return the bytes of main memory that a program works in: data of the stackvm module and of the k210 module.

    Args:
        program: see ``schedule``.
        placed: outputs that are placed among the other values; any other output lies outside.
    """
    born: dict[str, int] = {}
    dies: dict[str, int] = {}
    for index, step in enumerate(program.steps):
        written = step.outputs if isinstance(step, Function) else (step.output,)
        read = (step.source,) if isinstance(step, Function) else step.inputs
        for name in written:
            holder = _holder(program, name)
            born.setdefault(holder, index)
            dies[holder] = max(dies.get(holder, 0), index)
        for name in read:
            dies[_holder(program, name)] = index
    outside = {program.input, *(_holder(program, name) for name in program.outputs if name not in placed)}
    inside = [(name, first) for name, first in born.items() if name not in outside]
    between = peak(Buffer(program.values[name].size, first, dies[name], name) for name, first in inside)
    return between + max((_cropping_bytes(program, function) for function in program.functions), default=0)


def _cropping_bytes(program: Program, function: Function) -> int:
    """Return the bytes in which a function crops its padded map: the map, and every copy but the last."""
    for node in function.convs:
        if node.copies:
            _, channels, *sides = (*program.values[node.output].shape, 1, 1)[:4]
            whole = channels * max(sides[0], MIN_SIDE) * max(sides[1], MIN_SIDE)
            return _align8(whole) + _align8(program.values[node.output].size) * (node.copies - 1)
    return 0


def _align8(size: int) -> int:
    return -(-size // 8) * 8


def kpu_bytes(program: Program, function: Function) -> int:
    """Return the highest byte of the KPU's memory that a function's feature maps reach (first-fit from 0)."""
    names = (function.source, *(conv.output for conv in function.convs))
    born = {name: index for index, name in enumerate(names)}
    dies = dict(born)
    for conv in function.convs:
        for name in conv.inputs:
            dies[name] = max(dies[name], born[conv.output])
    return peak(Buffer(kpu_map_bytes(program.values[name]), born[name], dies[name], name) for name in names)


def kpu_map_bytes(value: Value) -> int:
    """Return the bytes of a uint8 value as a feature map in the KPU's memory; what is smaller lies in a 4×4 map."""
    _, channels, *sides = value.shape
    height, width = sides if len(sides) == 2 else (1, 1)
    return map_bytes(channels, max(height, MIN_SIDE), max(width, MIN_SIDE))


def _holder(program: Program, name: str) -> str:
    while program.values[name].within:
        name = program.values[name].within
    return name


def _functions(nodes: dict[str, Node], outputs: tuple[str, ...]) -> dict[str, Function]:
    """Return the functions by the value they are rooted at: a convolution has one input, so each is a tree."""
    root: dict[str, str] = {}
    depth: dict[str, int] = {}
    members: dict[str, list[Node]] = defaultdict(list)
    leaving = set(outputs)
    for node in nodes.values():  # in the network's order: producers before consumers
        if node.kind != "kpu":
            leaving.update(node.inputs)
            continue
        source = node.inputs[0]
        root[node.output] = root.get(source, source)
        depth[node.output] = depth.get(source, 0) + 1
        members[root[node.output]].append(node)
    functions = {}
    for source, convs in members.items():
        ends = sorted((c.output for c in convs if c.output in leaving), key=lambda name: depth[name])
        by_output = {conv.output: conv for conv in convs}
        ordered: dict[str, Node] = {}
        for end in ends:
            path, name = [], end
            while name in by_output and name not in ordered:
                path.append(by_output[name])
                name = by_output[name].inputs[0]
            ordered.update((conv.output, conv) for conv in reversed(path))
        functions[source] = Function(source, tuple(ordered.values()), tuple(ends))
    return functions
