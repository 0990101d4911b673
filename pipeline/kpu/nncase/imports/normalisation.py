"""Normalisations (src/importer/onnx/ops: batchnorm.cpp, instancenorm.cpp, layernorm.cpp, lp_normalization.cpp, …)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import F32, Value
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator
from pipeline.kpu.nncase.nodes import binary, concat, reduce, slice_, unary
from pipeline.kpu.nncase.tensors import Tensors

_MOST_CHANNELS = 2048
"""Of an LRN that is followed; networks have a few hundred."""


def _batch_norm(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    conv_like = source.node.op in ("conv2d", "conv2d_transpose", "matmul")
    if t.prepared and t.readers[o.inputs[0]] == 1 and conv_like:
        return t.graph.add(
            source.node.op, source.node.inputs, source.shape, F32, (*source.node.layers, *o.layers),
            **source.node.settings,
        )  # fmt: skip
    shape = (source.shape[1], *(1,) * (len(source.shape) - 2))
    if t.prepared:
        scaled = binary(t.graph, "mul", source, t.graph.constant(shape), o.layers)
        return binary(t.graph, "add", scaled, t.graph.constant(shape), o.layers)
    result = source
    for kind, name in (("sub", o.inputs[3]), ("mul", ""), ("mul", o.inputs[1]), ("add", o.inputs[2])):
        value = t.uniform(name) if name else None
        result = binary(t.graph, kind, result, t.graph.constant(shape, value=value), o.layers)
    return result


def _instance_norm(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    over = range(2, len(source.shape))
    shape = (source.shape[1], *(1,) * len(over))
    mean = reduce(t.graph, "mean", source, over, True, o.layers)
    centred = binary(t.graph, "sub", source, mean, o.layers)
    scaled = binary(t.graph, "mul", t.graph.constant(shape, value=t.uniform(o.inputs[1])), centred, o.layers)
    square = unary(t.graph, "square", centred, o.layers)
    variance = reduce(t.graph, "mean", square, over, True, o.layers)
    stable = binary(t.graph, "add", variance, t.graph.constant((1,), value=1e-5), o.layers)
    result = binary(t.graph, "div", scaled, unary(t.graph, "sqrt", stable, o.layers), o.layers)
    return binary(t.graph, "add", result, t.graph.constant(shape, value=t.uniform(o.inputs[2])), o.layers)


def _layer_norm(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    shape = t.shape(o.inputs[1])
    inputs = [source, t[o.inputs[1]], t[o.inputs[2]] if o.has(2) else t.graph.constant(shape)]
    return t.graph.add("layer_normalization", inputs, source.shape, F32, o.layers)


def _lp_normalization(t: Tensors, o: Operator) -> Value:
    if "axis" not in o.attributes:
        raise ImportRefused("bad optional access: nncase wants the axis written down")
    source = t[o.inputs[0]]
    axis = o.axis(len(source.shape), -1)
    first = int(o.attributes.get("p", 2)) == 1
    powers = unary(t.graph, "abs" if first else "square", source, o.layers)
    length = reduce(t.graph, "sum", powers, (axis,), True, o.layers)
    if not first:
        stable = binary(t.graph, "max", length, t.graph.constant((1,), value=1e-10), o.layers)
        length = unary(t.graph, "sqrt", stable, o.layers)
    return binary(t.graph, "div", source, length, o.layers)


def _lrn(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    size = int(o.attributes["size"])
    channels = source.shape[1]
    if channels > _MOST_CHANNELS:
        raise ImportRefused(f"nncase makes two operators of each of its {channels} channels: too many to follow")
    square = unary(t.graph, "square", source, o.layers)
    sums = []
    for i in range(channels):
        first, last = max(0, i - (size - 1) // 2), min(channels - 1, i + -(-(size - 1) // 2))
        begin, end = (0, first, 0, 0), (source.shape[0], last + 1, *source.shape[2:])
        part = slice_(t.graph, square, begin, end, (1, 1, 1, 1), o.layers)
        sums.append(reduce(t.graph, "sum", part, (1,), True, o.layers))
    joined = concat(t.graph, sums, 1, o.layers)
    scaled = binary(t.graph, "mul", t.graph.constant((1,), value=0.5), joined, o.layers)
    biased = binary(t.graph, "add", scaled, t.graph.constant((1,), value=2.0), o.layers)
    power = binary(t.graph, "pow", biased, t.graph.constant((1,), value=0.75), o.layers)
    return binary(t.graph, "div", source, power, o.layers)


IMPORTS: dict[str, Import] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_normalization,
}
