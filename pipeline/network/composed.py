"""Activations that opset 13 lacks, written as the operators that they are made of (see ``operators.activation``).

The same nodes as ``to_onnx`` writes, so that ``to_torch`` knows them again; without torch, whose import takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def decompose(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that make what ``node`` (one of ``COMPOSED``) makes; their constants go into ``graph``.

    Raises:
        ValueError: a form of the operator that is not known.
    """
    writing = _Writing(node, graph)
    COMPOSED[node.op_type](writing, node.input[0])
    return writing.nodes


class _Writing:
    """Collects the nodes that take the place of one."""

    def __init__(self, node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
        self.name = node.name or node.output[0]
        self.output = node.output[0]
        self.attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._taken = {name for other in graph.node for name in other.output}
        self._taken |= {tensor.name for tensor in graph.initializer}

    def scalar(self, suffix: str, value: float) -> str:
        name = self._unique(f"{self.name}.{suffix}")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def step(self, op: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
        made = self._unique(f"{self.name}_{suffix}")
        self.nodes.append(helper.make_node(op, inputs, [made], name=f"{self.name}_{suffix}", **attributes))
        return made

    def last(self, op: str, inputs: list[str]) -> None:
        self.nodes.append(helper.make_node(op, inputs, [self.output], name=self.name))

    def _unique(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _hard_swish(writing: _Writing, x: str) -> None:
    writing.last("Mul", [x, writing.step("HardSigmoid", [x], "gate", alpha=1 / 6, beta=0.5)])


def _mish(writing: _Writing, x: str) -> None:
    writing.last("Mul", [x, writing.step("Tanh", [writing.step("Softplus", [x], "softplus")], "gate")])


def _gelu(writing: _Writing, x: str) -> None:
    """``x·½(1 + erf(x/√2))``, or with tanh: ``x·½(1 + tanh(√(2/π)·(x + 0.044715·x³)))``."""
    form = writing.attributes.get("approximate", b"none")
    if form == b"tanh":
        cube = writing.step("Mul", [writing.step("Mul", [x, x], "square"), x], "cube")
        scaled = writing.step("Mul", [cube, writing.scalar("cubic", 0.044715)], "cubic_term")
        inner = writing.step("Add", [x, scaled], "sum")
        inner = writing.step("Mul", [inner, writing.scalar("scale", math.sqrt(2 / math.pi))], "scaled")
        bend = writing.step("Tanh", [inner], "tanh")
    elif form == b"none":
        bend = writing.step("Erf", [writing.step("Div", [x, writing.scalar("root", math.sqrt(2))], "scaled")], "erf")
    else:
        raise ValueError(f"approximate is {form!r}")
    gate = writing.step("Add", [bend, writing.scalar("one", 1.0)], "shifted")
    writing.last("Mul", [writing.step("Mul", [x, gate], "gated"), writing.scalar("half", 0.5)])


COMPOSED: dict[str, Callable[[_Writing, str], None]] = {"Gelu": _gelu, "HardSwish": _hard_swish, "Mish": _mish}
