"""Weights without their values, where only shapes are asked for: an initializer that has name, type and dims alone.

ONNX's shape inference and converter read the dims and take such a tensor for a weight like any other. It is never
written to a file: ONNX's checker refuses it.
"""

from __future__ import annotations

import math

import onnx
from onnx import TensorProto

LARGEST = 4096
"""Values that a weight of floats or bytes keeps: settings, bounds and the vectors of most layers are smaller."""

_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_KINDS = frozenset(
    {
        *(TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16),
        *(TensorProto.INT8, TensorProto.UINT8),
    }
)
"""Types of weights; the others hold shapes and indices, whose values shapes depend on."""


def droppable(kind: int, size: int) -> bool:
    """Return whether a constant of type ``kind`` and ``size`` values may go without them."""
    return kind in _KINDS and size > LARGEST


def placeholder(name: str, kind: int, dims: tuple[int, ...]) -> TensorProto:
    """Return the tensor of that type and shape without values."""
    return TensorProto(name=name, data_type=kind, dims=dims)


def is_placeholder(tensor: TensorProto) -> bool:
    """Return whether ``tensor`` has a shape but no values."""
    empty = not any(len(getattr(tensor, field)) for field in _DATA) and not tensor.external_data
    return empty and math.prod(tensor.dims) > 0


def drop_values(graph: onnx.GraphProto) -> None:
    """Make placeholders of the large weights of ``graph``."""
    constants = [
        attribute.t for node in graph.node if node.op_type == "Constant" for attribute in node.attribute[:1]
    ]  # fmt: skip
    for tensor in (*graph.initializer, *constants):
        if droppable(tensor.data_type, math.prod(tensor.dims)):
            for field in (*_DATA, "external_data", "data_location"):
                tensor.ClearField(field)
