"""What the operators see of an ONNX node. No torch here: reading and checking a file need none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from pipeline.errors import NetworkError

Shape = tuple[int | None, ...]
"""A tensor's shape; None where it is not known. Axis 0 is the batch."""


@dataclass(frozen=True)
class Operation:
    """An ONNX node in opset 13 form, ready to be lifted.

    Attributes:
        op: ONNX's operator, e.g. ``Conv``.
        name: the layer's name, for messages.
        attributes: the node's attributes as Python values.
        constants: the constant value of each input, None for an activation or an input left out.
        inputs: the shape of each input, None where it is not known.
        present: whether each input is given; those at the end may be left out altogether.
        output: the shape of the first output, as ONNX's shape inference found it.
        outputs: how many outputs the node has.
    """

    op: str
    name: str
    attributes: Mapping[str, Any]
    constants: tuple[NDArray[Any] | None, ...]
    inputs: tuple[Shape | None, ...]
    present: tuple[bool, ...]
    output: Shape | None
    outputs: int = 1

    def constant(self, index: int) -> NDArray[Any] | None:
        """Return the value of input ``index`` where it is constant, else None (also where it is left out)."""
        return self.constants[index] if index < len(self.constants) else None

    def required(self, index: int, what: str) -> NDArray[Any]:
        """Return the constant input ``index``.

        Raises:
            NetworkError: it is computed by the network.
        """
        value = self.constant(index)
        if value is None:
            raise self.refuse(f"its {what} must be constant")
        return value

    def optional(self, index: int, what: str) -> NDArray[Any] | None:
        """Return the constant input ``index``, None where it is left out.

        Raises:
            NetworkError: it is computed by the network.
        """
        return self.required(index, what) if index < len(self.present) and self.present[index] else None

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of input ``index``, its rank known.

        Raises:
            NetworkError: shape inference found none.
        """
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise self.refuse("the shape of its input is not known", remedy="run ONNX's shape inference on the file")
        return found

    def sizes(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of input ``index`` without the batch.

        Raises:
            NetworkError: a length is not known.
        """
        sizes = self.shape(index)[1:]
        if any(size is None for size in sizes):
            raise self.refuse("the shape of its input is not fixed", remedy="export the model with fixed image sizes")
        return tuple(size for size in sizes if size is not None)

    def axis(self, value: int, *, rank: int | None = None, batch: bool = False) -> int:
        """Return an axis counted from the front.

        Raises:
            NetworkError: it is the batch, and ``batch`` is false.
        """
        count = len(self.shape()) if rank is None else rank
        axis = int(value) + count if value < 0 else int(value)
        if not batch and axis == 0:
            raise self.refuse("it works across the images of a batch")
        return axis

    def refuse(self, why: str, *, remedy: str = "") -> NetworkError:
        """Return (not raise) the error for a form of the operator that we do not carry."""
        return NetworkError(
            f"this form of {self.op} cannot be carried: {why}",
            where=self.name,
            remedy=remedy or "replace the layer in the model, or export the model with another tool",
        )


def value_shapes(graph: onnx.GraphProto) -> dict[str, Shape | None]:
    """Return the shape of every value of ``graph`` that has been inferred, weights included."""
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes.update({tensor.name: tuple(tensor.dims) for tensor in graph.initializer})
    return shapes


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim)


def passes_through(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether a node's first output is its first input: Identity, and Dropout outside training."""
    if node.op_type == "Identity":
        return True
    if node.op_type != "Dropout" or any(node.output[1:]):
        return False
    training = node.input[2] if len(node.input) > 2 else ""
    return not training or (training in constants and not constants[training].any())


def values_read(node: onnx.NodeProto) -> list[str]:
    """Return the names of the values that ``node`` reads, in the graphs in its attributes too."""
    inner = [
        name
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
        for inside in graph.node
        for name in values_read(inside)
    ]
    return [*node.input, *inner]


def describe(
    node: onnx.NodeProto, name: str, constants: Mapping[str, NDArray[Any]], shapes: Mapping[str, Shape | None]
) -> Operation:
    """Return ``node`` as an ``Operation`` called ``name``."""
    return Operation(
        op=node.op_type,
        name=name,
        attributes={attribute.name: _attribute(attribute) for attribute in node.attribute},
        constants=tuple(constants.get(value) for value in node.input),
        inputs=tuple(shapes.get(value) if value else None for value in node.input),
        present=tuple(bool(value) for value in node.input),
        output=shapes.get(node.output[0]),
        outputs=sum(1 for output in node.output if output),
    )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value
