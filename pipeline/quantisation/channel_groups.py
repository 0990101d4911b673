"""Which tensors of a network can carry a factor a channel, and which weights give and take it.

``f(s·x) = s·f(x)`` holds for every s > 0 in ReLU, Clip(0, ), LeakyReLU, PReLU, pooling, zero padding, flattening and
the Add of two tensors scaled alike. All tensors that such operators connect form one *group* with one factor a
channel: the convolutions that write into the group divide their output channels by it, the convolutions that read from
it multiply their input channels by it, and the network computes what it did before. ReLU6, sigmoid and every operator
that is not listed here end a group; a group that touches one of them, the network's input or its output keeps the
factor 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[np.float32]

_HOMOGENEOUS = {
    "Relu",
    "LeakyRelu",
    "PRelu",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "Dropout",
}
_WEIGHTED = {"Conv", "Gemm"}


@dataclass(frozen=True)
class Group:
    """Tensors that share one factor a channel.

    Attributes:
        channels: how many channels the tensors have.
        tensors: their names.
        writers: indices of the Conv and Gemm nodes whose output is one of them.
        readers: indices of the Conv and Gemm nodes whose input is one of them.
    """

    channels: int
    tensors: tuple[str, ...]
    writers: tuple[int, ...]
    readers: tuple[int, ...]


def constants(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """Return the values of initializers and Constant nodes, by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def find_groups(model: onnx.ModelProto) -> list[Group]:
    """Return the groups of ``model`` whose factor may be chosen freely, in the order of their first writer.

    Weights that several nodes share, or that are no initializer, keep their groups at the factor 1.
    """
    values = constants(model)
    initializers = {tensor.name for tensor in model.graph.initializer}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1

    links = _Links()
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    writers: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(model.graph.node):
        moving = [name for name in node.input if name and name not in values]
        if not moving:
            continue
        own = [name for name in node.input[1:] if name]
        if node.op_type in _WEIGHTED and all(name in initializers and uses[name] == 1 for name in own):
            readers.setdefault(node.input[0], []).append(index)
            writers[node.output[0]] = index
        elif is_homogeneous(node, values):
            for name in moving:
                links.join(name, node.output[0])
        else:
            fixed.update(moving)
            fixed.update(node.output)

    members: dict[str, set[str]] = {}
    for name in {*writers, *readers, *links.names()}:
        members.setdefault(links.root(name), set()).add(name)
    groups = []
    for tensors in members.values():
        writing = sorted(writers[name] for name in tensors if name in writers)
        reading = sorted(index for name in tensors for index in readers.get(name, ()))
        counts = {_outputs(model.graph.node[index], values) for index in writing}
        if tensors & fixed or not writing or not reading or len(counts) != 1:
            continue
        channels = counts.pop()
        if all(_inputs(model.graph.node[index], values) % channels == 0 for index in reading):
            groups.append(Group(channels, tuple(sorted(tensors)), tuple(writing), tuple(reading)))
    return sorted(groups, key=lambda group: group.writers)


def is_homogeneous(node: onnx.NodeProto, values: dict[str, NDArray[np.generic]]) -> bool:
    """Whether ``node(s·x) = s·node(x)`` for every s > 0 a channel, with the channel still at axis 1."""
    if node.op_type in _HOMOGENEOUS:
        return True
    if node.op_type == "Clip":
        low = values.get(node.input[1]) if len(node.input) > 1 else None
        return low is not None and float(low) == 0.0 and not any(node.input[2:])
    if node.op_type == "Flatten":
        return attribute(node, "axis", 1) == 1
    if node.op_type == "Add":
        return not any(name in values for name in node.input)
    if node.op_type == "Pad":
        pads = values.get(node.input[1])
        fill = values.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        mode = next((a.s for a in node.attribute if a.name == "mode"), b"constant")
        zero = mode == b"constant" and (fill is None or float(fill) == 0.0)
        return zero and pads is not None and pads.size == 8 and not pads[[0, 1, 4, 5]].any()
    return False


def _outputs(node: onnx.NodeProto, values: dict[str, NDArray[np.generic]]) -> int:
    shape = values[node.input[1]].shape
    return int(shape[0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1])


def _inputs(node: onnx.NodeProto, values: dict[str, NDArray[np.generic]]) -> int:
    shape = values[node.input[1]].shape
    if node.op_type == "Conv":
        return int(shape[1]) * attribute(node, "group", 1)
    return int(shape[1 if attribute(node, "transB", 0) else 0])


class _Links:
    """Names joined into classes (union-find)."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def names(self) -> set[str]:
        return set(self._parents)

    def root(self, name: str) -> str:
        parent = self._parents.get(name, name)
        return name if parent == name else self.root(parent)

    def join(self, left: str, right: str) -> None:
        self._parents.setdefault(left, left)
        self._parents.setdefault(right, right)
        self._parents[self.root(left)] = self.root(right)
