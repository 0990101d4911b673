"""Arithmetic of one, two and more tensors (src/importer/onnx/ops/unary.cpp, binary.cpp, sum.cpp)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import Value
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator
from pipeline.kpu.nncase.nodes import binary, unary
from pipeline.kpu.nncase.tensors import Tensors


def _unary(t: Tensors, o: Operator) -> Value:
    return unary(t.graph, o.op.lower(), t[o.inputs[0]], o.layers)


def _erf(t: Tensors, o: Operator) -> Value:
    raise ImportRefused("Unsupported unary op for nnil: unary_erf")


def _binary(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        if len(o.inputs) < 2:
            raise ImportRefused("nncase crashes where there is one input")
        for name in o.inputs:
            if t.is_constant(name):  # nncase drops what adds 0 or multiplies with 1 everywhere
                t[name].node.settings["value"] = t.uniform(name)
        result = t[o.inputs[0]]
        for name in o.inputs[1:]:
            result = binary(t.graph, kind, result, t[name], o.layers)
        return result

    return build


def _sum(t: Tensors, o: Operator) -> Value | list[Value]:
    return t[o.inputs[0]] if len(o.inputs) == 1 else _add(t, o)


_add = _binary("add")

_FUNCTIONS = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Ceil", "Cos", "Cosh", "Exp", "Floor", "Log", "Neg", "Round", "Rsqrt"),
    *("Sign", "Sin", "Sinh", "Sqrt", "Tanh"),
)

IMPORTS: dict[str, Import] = {
    "Add": _add,
    "Div": _binary("div"),
    "Erf": _erf,
    "Max": _binary("max"),
    "Min": _binary("min"),
    "Mul": _binary("mul"),
    "Pow": _binary("pow"),
    "Sub": _binary("sub"),
    "Sum": _sum,
    **dict.fromkeys(_FUNCTIONS, _unary),
}
