"""Activations, written as arithmetic (src/importer/onnx/ops/activations.cpp, clip.cpp)."""

from __future__ import annotations

import math

from pipeline.kpu.nncase.graph import F32, U8, Value
from pipeline.kpu.nncase.imports.operator import Import, Operator
from pipeline.kpu.nncase.nodes import binary, convert, is_constant
from pipeline.kpu.nncase.tensors import Tensors


def _relu(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    if t.prepared and source.node.op in ("conv2d", "binary"):
        return t.graph.add("clamp", [source], source.shape, F32, o.layers, low=0.0, high=math.inf)
    return binary(t.graph, "max", t[o.inputs[0]], t.graph.constant((1,), value=0.0), o.layers)


def _leaky_relu(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    scaled = binary(t.graph, "mul", source, t.graph.constant((1,), value=o.attributes.get("alpha", 0.01)), o.layers)
    return binary(t.graph, "max", source, scaled, o.layers)


def _prelu(t: Tensors, o: Operator) -> Value:
    source, slope = t[o.inputs[0]], t[o.inputs[1]]
    zero = t.graph.constant((1,), value=0.0)
    positive = binary(t.graph, "max", source, zero, o.layers)
    negative = binary(t.graph, "min", source, zero, o.layers)
    return binary(t.graph, "add", positive, binary(t.graph, "mul", negative, slope, o.layers), o.layers)


def _thresholded_relu(t: Tensors, o: Operator) -> Value:
    """``x · (x > alpha)``, of which nothing fuses."""
    source = t[o.inputs[0]]
    alpha = t.graph.constant((1,), value=float(o.attributes.get("alpha", 1.0)))
    greater = t.graph.add("compare", [source, alpha], source.shape, U8, o.layers, kind="greater")
    return binary(t.graph, "mul", source, convert(t.graph, greater, F32, o.layers), o.layers)


def _clip(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]

    def bound(index: int, name: str, default: float) -> float | None:
        if o.has(index):
            given = t[o.inputs[index]]
            return given.node["value"] if is_constant(given) else None
        return float(o.attributes.get(name, default))

    low, high = bound(1, "min", -math.inf), bound(2, "max", math.inf)
    return t.graph.add("clamp", [source], source.shape, F32, o.layers, low=low, high=high)


def _sigmoid(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    return t.graph.add("sigmoid", [source], source.shape, F32, o.layers)


def _function(t: Tensors, o: Operator) -> Value:
    """Import a function of one value made of unary operators and arithmetic with numbers: it always fuses."""
    source = t[o.inputs[0]]
    number = t.graph.constant((1,), value=math.pi)  # neither 0 nor 1, with which nncase drops the arithmetic
    first = binary(t.graph, "mul", source, number, o.layers)
    return binary(t.graph, "max", source, first, o.layers)


IMPORTS: dict[str, Import] = {
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "ThresholdedRelu": _thresholded_relu,
    **dict.fromkeys(("Celu", "Elu", "HardSigmoid", "HardSwish", "Selu", "Softplus", "Softsign"), _function),
}
