"""Products of matrices (src/importer/onnx/ops/gemm.cpp, matmul.cpp)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import F32, Shape, Value
from pipeline.kpu.nncase.imports.operator import Import, Operator
from pipeline.kpu.nncase.nodes import FULL, binary, bitcast, count, is_constant, transpose
from pipeline.kpu.nncase.tensors import Tensors


def _gemm(t: Tensors, o: Operator) -> Value:
    a, b = t[o.inputs[0]], t[o.inputs[1]]
    if o.attributes.get("transA"):
        a = transpose(t.graph, a, tuple(range(len(a.shape)))[::-1], o.layers)
    if o.attributes.get("transB"):
        b = (
            t.graph.constant(b.shape[::-1], key=("turned", o.inputs[1]))
            if is_constant(b)
            else transpose(t.graph, b, tuple(range(len(b.shape)))[::-1], o.layers)
        )
    alpha = float(o.attributes.get("alpha", 1.0))
    if alpha != 1.0:
        a = binary(t.graph, "mul", t.graph.constant((1,), value=alpha), a, o.layers)
    product = _product(t, o, a, b)
    if o.has(2):
        return binary(t.graph, "add", product, t.graph.constant(t.shape(o.inputs[2])), o.layers)
    return product


def _matmul(t: Tensors, o: Operator) -> Value:
    """Multiply stacks of matrices as one stack, or two matrices where there is one of each."""
    a, b = t[o.inputs[0]], t[o.inputs[1]]
    if len(a.shape) == len(b.shape) == 2:
        return _product(t, o, a, b)
    made = _product(t, o, _stack(t, o, a), _stack(t, o, b))
    leading = a.shape[:-2] if len(a.shape) >= len(b.shape) else b.shape[:-2]
    return bitcast(t.graph, made, (*leading, a.shape[-2], b.shape[-1]), o.layers)


def _stack(t: Tensors, o: Operator, value: Value) -> Value:
    shape: Shape = (count(value.shape[:-2]), *value.shape[-2:])
    if is_constant(value):
        return t.graph.constant(shape[1:] if shape[0] == 1 else shape, key=value.node["key"])
    stacked = bitcast(t.graph, value, shape, o.layers)
    return bitcast(t.graph, stacked, shape[1:], o.layers) if shape[0] == 1 else stacked


def _product(t: Tensors, o: Operator, a: Value, b: Value) -> Value:
    leading = a.shape[:-2] if len(a.shape) >= len(b.shape) else b.shape[:-2]
    bias = t.graph.constant((b.shape[-1],))
    return t.graph.add("matmul", [a, b, bias], (*leading, a.shape[-2], b.shape[-1]), F32, o.layers, act=FULL)


IMPORTS: dict[str, Import] = {"Gemm": _gemm, "MatMul": _matmul}
