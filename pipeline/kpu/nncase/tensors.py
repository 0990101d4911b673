"""What the importers ask of an ONNX graph: constants, attributes and shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.errors import NetworkError
from pipeline.kpu.nncase.graph import Graph, Shape, Value


class Tensors:
    """The tensors of an ONNX graph while it is imported.

    Attributes:
        graph: what is being made.
        values: what was made of each tensor so far, by name.
        opset: version of the default domain.
        prepared: whether kpufit prepares the network for nncase.
        readers: how often each tensor is read.
        declared: shapes that the network itself says, batch 1, where it says all of one.
    """

    def __init__(self, model: onnx.ModelProto, graph: Graph, *, prepared: bool = False) -> None:
        self.graph = graph
        self.prepared = prepared
        self.readers = Counter(name for node in model.graph.node for name in node.input)
        self.readers.update(value.name for value in model.graph.output)
        self.declared = _declared_shapes(model.graph)
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=13)
        self.values: dict[str, Value] = {}
        self.protos: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made: dict[str, NDArray[Any]] = {}

    def is_constant(self, name: str) -> bool:
        """Whether a tensor's numbers are known."""
        return name in self.protos or name in self.made

    def array(self, name: str) -> NDArray[Any]:
        """Return the numbers of a constant."""
        if name not in self.made:
            self.made[name] = numpy_helper.to_array(self.protos[name])
        return self.made[name]

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape, batch 1."""
        if name in self.values:
            return self.values[name].shape
        if name in self.made:
            return tuple(self.made[name].shape)
        return tuple(self.protos[name].dims)

    def uniform(self, name: str) -> float | None:
        """Return the number that a constant has everywhere; None where it has several, or lies in another file."""
        if not self.is_constant(name):
            return None
        if name not in self.made and self.protos[name].data_location == onnx.TensorProto.EXTERNAL:
            return None
        numbers = self.array(name).reshape(-1)
        return float(numbers[0]) if numbers.size and (numbers == numbers[0]).all() else None

    def __getitem__(self, name: str) -> Value:
        """Return the value of a tensor, a constant made on first use."""
        if name not in self.values:
            if not self.is_constant(name):
                if not name:
                    raise ValueError("an input that it must have is left out")
                raise NetworkError(
                    f"tensor {name!r} is read before anything gives it", where=name, remedy="export the network again"
                )
            shape = self.shape(name) or (1,)
            value = None
            if int(np.prod(shape)) == 1 and self.array(name).dtype.kind in "biuf":
                value = float(self.array(name).reshape(-1)[0])
            self.values[name] = self.graph.constant(shape, value=value, key=name)
        return self.values[name]


def _declared_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            dims = [dim.dim_value for dim in kind.shape.dim]
            if all(n > 0 for n in dims[1:]):
                shapes[value.name] = tuple(dims) or (1,)
    return shapes


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as plain values, text decoded."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def pair(values: Sequence[int] | None, default: int = 1) -> tuple[int, int]:
    """Return two numbers of a list of one or two."""
    if not values:
        return (default, default)
    first, *rest = (int(v) for v in values)
    return (first, rest[0] if rest else first)
