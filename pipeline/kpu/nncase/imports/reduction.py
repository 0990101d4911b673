"""Reductions over axes (src/importer/onnx/ops/reduce.cpp, reduce_arg.cpp, reduce_prod.cpp)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import I64, Value
from pipeline.kpu.nncase.imports.operator import Import, Operator
from pipeline.kpu.nncase.nodes import reduce, reduced, unary
from pipeline.kpu.nncase.tensors import Tensors


def _axes(o: Operator, rank: int) -> list[int]:
    """Return the axes of an attribute, else all: axes that are an input (opset 13 and 18) are not looked at."""
    given = o.attributes.get("axes")
    return sorted(int(a) % rank for a in given) if given is not None else list(range(rank))


def _keeps(o: Operator) -> bool:
    return bool(o.attributes.get("keepdims", 1))


def _reduce(kind: str, before: str = "", after: str = "") -> Import:
    """Import a reduction with a function of each value before it and one of the result behind it."""

    def build(t: Tensors, o: Operator) -> Value:
        value = t[o.inputs[0]]
        axes = _axes(o, len(value.shape))
        if before:
            value = unary(t.graph, before, value, o.layers)
        value = reduce(t.graph, kind, value, axes, _keeps(o), o.layers)
        return unary(t.graph, after, value, o.layers) if after else value

    return build


def _product(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    axes = _axes(o, len(source.shape))
    shape = reduced(source.shape, axes, _keeps(o))
    return t.graph.add("reduce_prod", [source], shape, source.dtype, o.layers, axes=tuple(axes))


def _arg(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    axis = o.axis(len(source.shape), 0)
    shape = reduced(source.shape, [axis], _keeps(o))
    return t.graph.add("reduce_arg", [source], shape, I64, o.layers, kind=o.op, axis=axis)


IMPORTS: dict[str, Import] = {
    "ArgMax": _arg,
    "ArgMin": _arg,
    "ReduceL1": _reduce("sum", before="abs"),
    "ReduceL2": _reduce("sum", before="square", after="sqrt"),
    "ReduceLogSum": _reduce("sum", after="log"),
    "ReduceLogSumExp": _reduce("sum", before="exp", after="log"),
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceProd": _product,
    "ReduceSum": _reduce("sum"),
    "ReduceSumSquare": _reduce("sum", before="square"),
}
