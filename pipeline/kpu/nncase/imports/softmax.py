"""Softmax and its kin (src/importer/onnx/ops/softmax.cpp, hardmax.cpp)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import F32, Value
from pipeline.kpu.nncase.imports.operator import Import, Operator
from pipeline.kpu.nncase.nodes import binary, bitcast, count, reduce, unary
from pipeline.kpu.nncase.tensors import Tensors


def _axis(t: Tensors, o: Operator, source: Value) -> int:
    return o.axis(len(source.shape), -1 if t.opset >= 13 else 1)


def _matrix(t: Tensors, o: Operator) -> tuple[Value, int]:
    """Return the input and the axis: before opset 13 all axes from it on are one, and all before it are one."""
    source = t[o.inputs[0]]
    axis = _axis(t, o, source)
    if t.opset >= 13:
        return source, axis
    return bitcast(t.graph, source, (count(source.shape[:axis]), count(source.shape[axis:])), o.layers), 1


def _softmax(t: Tensors, o: Operator) -> Value:
    source, axis = _matrix(t, o)
    made = t.graph.add("softmax", [source], source.shape, F32, o.layers, axis=axis)
    return made if t.opset >= 13 else bitcast(t.graph, made, t.shape(o.inputs[0]), o.layers)


def _log_softmax(t: Tensors, o: Operator) -> Value:
    source, axis = _matrix(t, o)
    largest = reduce(t.graph, "max", source, (axis,), True, o.layers)
    below = binary(t.graph, "sub", source, largest, o.layers)
    total = reduce(t.graph, "sum", unary(t.graph, "exp", below, o.layers), (axis,), True, o.layers)
    made = binary(t.graph, "sub", below, unary(t.graph, "log", total, o.layers), o.layers)
    return made if t.opset >= 13 else bitcast(t.graph, made, t.shape(o.inputs[0]), o.layers)


def _hardmax(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    return t.graph.add("hardmax", [source], source.shape, F32, o.layers, axis=_axis(t, o, source))


IMPORTS: dict[str, Import] = {"Hardmax": _hardmax, "LogSoftmax": _log_softmax, "Softmax": _softmax}
