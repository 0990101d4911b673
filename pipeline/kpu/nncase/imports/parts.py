"""Operators that take parts of tensors or put them together (src/importer/onnx/ops: slice.cpp, concat.cpp, …)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import F32, I32, Value
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator, known
from pipeline.kpu.nncase.nodes import bitcast, concat, is_constant, pad, slice_
from pipeline.kpu.nncase.tensors import Tensors


def _concat(t: Tensors, o: Operator) -> Value:
    parts = [t[name] for name in o.inputs]
    axis = o.axis(len(parts[0].shape), 0)
    return concat(t.graph, parts, axis, o.layers) if len(parts) > 1 else parts[0]


def _tile(t: Tensors, o: Operator) -> Value:
    """Put copies side by side, the last axis first."""
    value = t[o.inputs[0]]
    repeats = [int(n) for n in known(t, o, 1)]
    if all(n == 1 for n in repeats):
        return bitcast(t.graph, value, value.shape, o.layers)
    for axis in reversed(range(len(repeats))):
        if repeats[axis] != 1:
            value = concat(t.graph, [value] * repeats[axis], axis, o.layers)
    return value


def _pad(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    flat = o.attributes.get("pads")
    if flat is None:
        flat = known(t, o, 1)
    value = float(o.attributes.get("value", 0.0))
    if o.has(2):
        value = float(known(t, o, 2)[0])
    rank = len(source.shape)
    pads = [(int(flat[i]), int(flat[i + rank])) for i in range(rank)]
    return pad(t.graph, source, pads, o.layers, (), o.attributes.get("mode", "constant"), value)


def _slice(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    rank = len(source.shape)
    begin, end, strides = [0] * rank, list(source.shape), [1] * rank

    def given(index: int, name: str) -> list[int] | None:
        if o.has(index):
            return [int(n) for n in known(t, o, index)]
        return [int(n) for n in o.attributes[name]] if name in o.attributes else None

    starts, ends = given(1, "starts") or [], given(2, "ends") or []
    axes = given(3, "axes") or list(range(len(starts)))
    steps = given(4, "steps") or [1] * len(starts)
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        i, n = axis % rank, source.shape[axis % rank]
        strides[i] = step
        if step > 0:
            begin[i] = min(max(start + n if start < 0 else start, 0), n)
            end[i] = min(max(stop + n if stop < 0 else stop, 0), n)
        else:
            begin[i] = min(max(start + n if start < 0 else start, 0), n - 1)
            end[i] = max(min(stop + n if -n <= stop < 0 else stop, n - 1), -1)
    return slice_(t.graph, source, begin, end, strides, o.layers, part=True)


def _split(t: Tensors, o: Operator) -> list[Value]:
    source = t[o.inputs[0]]
    axis = o.axis(len(source.shape), 0)
    sizes = o.attributes.get("split")
    if sizes is None and o.has(1):
        sizes = known(t, o, 1)
    if sizes is None:
        parts = len(o.outputs)
        sizes = [-(-source.shape[axis] // parts)] * parts
        sizes[-1] = source.shape[axis] - sum(sizes[:-1])
    results, at = [], 0
    for size in sizes:
        begin, end = [0] * len(source.shape), list(source.shape)
        begin[axis], end[axis] = at, at + int(size)
        results.append(slice_(t.graph, source, begin, end, [1] * len(source.shape), o.layers, part=True))
        at += int(size)
    return results


def _gather(t: Tensors, o: Operator) -> Value:
    source, indices = t[o.inputs[0]], t[o.inputs[1]]
    if not is_constant(indices):
        raise ImportRefused("kpufit knows nncase's Gather with constant indices only")
    axis = o.axis(len(source.shape), 0)
    picked = t.array(o.inputs[1]).shape  # one number takes the axis away
    shape = (*source.shape[:axis], *picked, *source.shape[axis + 1 :])
    at = t.graph.constant(indices.shape, I32, key=("int32", o.inputs[1]))
    return t.graph.add("gather", [source, at], shape, F32, o.layers, axis=axis)


IMPORTS: dict[str, Import] = {
    "Concat": _concat,
    "Gather": _gather,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
}
