"""Operators that move or copy values without changing them (src/importer/onnx/ops: reshape.cpp, transpose.cpp, …)."""

from __future__ import annotations

import onnx

from pipeline.kpu.nncase.graph import F32, F64, I32, I64, U8, Value
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator, known
from pipeline.kpu.nncase.nodes import binary, bitcast, convert, count, transpose
from pipeline.kpu.nncase.tensors import Tensors

_DTYPES = {
    onnx.TensorProto.FLOAT: F32,
    onnx.TensorProto.DOUBLE: F64,
    onnx.TensorProto.UINT8: U8,
    onnx.TensorProto.BOOL: U8,
    onnx.TensorProto.INT8: "i8",
    onnx.TensorProto.FLOAT16: "f16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.INT16: "i16",
    onnx.TensorProto.UINT16: "u16",
    onnx.TensorProto.INT32: I32,
    onnx.TensorProto.UINT32: "u32",
    onnx.TensorProto.INT64: I64,
    onnx.TensorProto.UINT64: "u64",
}


def _flatten(t: Tensors, o: Operator) -> Value:
    """Join all axes from one on; unlike ONNX, nncase does not join those before it."""
    source = t[o.inputs[0]]
    axis = int(o.attributes.get("axis", 1)) % (len(source.shape) + 1)
    return bitcast(t.graph, source, (*source.shape[:axis], count(source.shape[axis:])), o.layers)


def _reshape(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    target = known(t, o, 1) if len(o.inputs) > 1 else list(o.attributes["shape"])
    sizes = [source.shape[i] if n == 0 and i < len(source.shape) else int(n) for i, n in enumerate(target)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = count(source.shape) // max(1, count(tuple(n for n in sizes if n != -1)))
    elif sizes and count(tuple(sizes)) != count(source.shape):
        sizes[0] = 1  # the batch of the network as exported
    return bitcast(t.graph, source, tuple(sizes), o.layers)


def _squeeze(t: Tensors, o: Operator) -> Value:
    """Drop the axes of an attribute, else all of length 1: axes that are an input (opset 13) are not looked at."""
    source = t[o.inputs[0]]
    given = o.attributes.get("axes")
    axes = {int(a) % len(source.shape) for a in given} if given else {i for i, n in enumerate(source.shape) if n == 1}
    return bitcast(t.graph, source, tuple(n for i, n in enumerate(source.shape) if i not in axes) or (1,), o.layers)


def _unsqueeze(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    given = o.attributes.get("axes")
    if given is None:
        given = known(t, o, 1)
    rank = len(source.shape) + len(given)
    axes, rest = {int(a) % rank for a in given}, iter(source.shape)
    return bitcast(t.graph, source, tuple(1 if i in axes else next(rest) for i in range(rank)), o.layers)


def _transpose(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    perm = o.attributes.get("perm") or list(range(len(source.shape)))[::-1]
    return transpose(t.graph, source, [int(axis) for axis in perm], o.layers)


def _depth_to_space(t: Tensors, o: Operator) -> Value:
    source, block = t[o.inputs[0]], int(o.attributes["blocksize"])
    batch, channels, height, width = source.shape
    rest = channels // block**2
    if o.attributes.get("mode", "DCR") == "CRD":
        parts, perm = (batch, rest, block, block, height, width), (0, 1, 4, 2, 5, 3)
    else:
        parts, perm = (batch, block, block, rest, height, width), (0, 3, 4, 1, 5, 2)
    turned = transpose(t.graph, bitcast(t.graph, source, parts, o.layers), perm, o.layers)
    return bitcast(t.graph, turned, (batch, rest, height * block, width * block), o.layers)


def _space_to_depth(t: Tensors, o: Operator) -> Value:
    source, block = t[o.inputs[0]], int(o.attributes["blocksize"])
    batch, channels, height, width = source.shape
    parts = (batch, channels, height // block, block, width // block, block)
    turned = transpose(t.graph, bitcast(t.graph, source, parts, o.layers), (0, 3, 5, 1, 2, 4), o.layers)
    return bitcast(t.graph, turned, (batch, channels * block**2, height // block, width // block), o.layers)


def _expand(t: Tensors, o: Operator) -> Value:
    """Multiply with as many ones as the shape wants."""
    shape = tuple(int(n) for n in known(t, o, 1))
    return binary(t.graph, "mul", t[o.inputs[0]], t.graph.constant(shape, value=1.0), o.layers)


def _cast(t: Tensors, o: Operator) -> Value:
    to = int(o.attributes["to"])
    if to not in _DTYPES:
        raise ImportRefused(f"unsupported onnx data type: {to}")
    return convert(t.graph, t[o.inputs[0]], _DTYPES[to], o.layers)


def _same(t: Tensors, o: Operator) -> Value:
    return t[o.inputs[0]]


IMPORTS: dict[str, Import] = {
    "Cast": _cast,
    "DepthToSpace": _depth_to_space,
    "Dropout": _same,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _same,
    "Reshape": _reshape,
    "SpaceToDepth": _space_to_depth,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
