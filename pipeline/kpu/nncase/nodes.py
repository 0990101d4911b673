"""The operators of nncase's graph that rewrites make, each with the shape that it gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.kpu.nncase.graph import F32, U8, Graph, Node, Shape, Value

Padding = tuple[int, int]

FULL = (-math.inf, math.inf)
"""The range of a fused clamp that clamps nothing."""

NO_PADDING: Padding = (0, 0)

INTEGER_ZERO = math.nan
"""What a pad of integer zeros puts there: nncase takes it for another value than the zero of any other pad."""


def pad(
    graph: Graph,
    source: Value,
    pads: Sequence[Padding],
    layers: Iterable[str],
    interior: Sequence[int] = (),
    mode: str = "constant",
    value: float = 0.0,
) -> Value:
    """Pad (negative: crop) before and after every axis, and between elements where ``interior`` says so."""
    gaps = tuple(interior) or (0,) * len(source.shape)
    shape = tuple(
        n + before + after + max(0, n - 1) * gap
        for n, (before, after), gap in zip(source.shape, pads, gaps, strict=True)
    )
    return graph.add(
        "pad", [source], shape, source.dtype, layers, pads=tuple(pads), interior=gaps, mode=mode, value=value
    )


def slice_(
    graph: Graph,
    source: Value,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    layers: Iterable[str],
    *,
    part: bool = False,
) -> Value:
    """Take every ``strides``-th element from ``begin`` to before ``end``.

    ``part``: whether the values taken may span another range than all of them; a crop of what padding added does not.
    """
    shape = tuple(
        max(0, -(-(e - b) // s)) if s > 0 else max(0, -(-(b - e) // -s))
        for b, e, s in zip(begin, end, strides, strict=True)
    )
    return graph.add(
        "slice", [source], shape, source.dtype, layers, begin=tuple(begin), end=tuple(end), strides=tuple(strides),
        part=part,
    )  # fmt: skip


def bitcast(graph: Graph, source: Value, shape: Shape, layers: Iterable[str]) -> Value:
    """Reshape."""
    return graph.add("bitcast", [source], shape, source.dtype, layers)


def transpose(graph: Graph, source: Value, perm: Sequence[int], layers: Iterable[str]) -> Value:
    """Exchange axes."""
    shape = tuple(source.shape[axis] for axis in perm)
    return graph.add("transpose", [source], shape, source.dtype, layers, perm=tuple(perm))


def binary(graph: Graph, kind: str, a: Value, b: Value, layers: Iterable[str]) -> Value:
    """Apply an arithmetic operator to two tensors, broadcast."""
    return graph.add("binary", [a, b], broadcast(a.shape, b.shape), a.dtype, layers, kind=kind, act=FULL)


def unary(graph: Graph, kind: str, source: Value, layers: Iterable[str]) -> Value:
    """Apply a function to every element."""
    return graph.add("unary", [source], source.shape, source.dtype, layers, kind=kind)


def concat(graph: Graph, sources: Sequence[Value], axis: int, layers: Iterable[str]) -> Value:
    """Put tensors side by side along an axis."""
    first = sources[0].shape
    shape = tuple(sum(v.shape[i] for v in sources) if i == axis else n for i, n in enumerate(first))
    return graph.add("concat", sources, shape, sources[0].dtype, layers, axis=axis)


def reduce(graph: Graph, kind: str, source: Value, axes: Sequence[int], keep: bool, layers: Iterable[str]) -> Value:
    """Reduce over whole axes."""
    shape = reduced(source.shape, axes, keep)
    return graph.add("reduce", [source], shape, source.dtype, layers, kind=kind, axes=tuple(axes), keep=keep)


def reduced(shape: Shape, axes: Sequence[int], keep: bool) -> Shape:
    """Return the shape of a reduction over whole axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes) or (1,)


def convert(graph: Graph, source: Value, dtype: str, layers: Iterable[str]) -> Value:
    """Change the type of the numbers."""
    return graph.add("convert", [source], source.shape, dtype, layers)


def conv2d(graph: Graph, inputs: Sequence[Value], layers: Iterable[str], **settings: Any) -> Value:
    """Convolve: input, weights O×I×H×W and bias; ``pads`` (height, width), ``strides``, ``dilation``, ``groups``."""
    source, weights = inputs[0], inputs[1]
    sides = []
    for axis in (0, 1):
        before, after = settings["pads"][axis]
        reach = settings["dilation"][axis] * (weights.shape[2 + axis] - 1) + 1
        sides.append((source.shape[2 + axis] + before + after - reach) // settings["strides"][axis] + 1)
    shape = (source.shape[0], weights.shape[0], *sides)
    return graph.add("conv2d", inputs, shape, F32, layers, **{"act": FULL, **settings})


def fake_conv(
    graph: Graph,
    inputs: Sequence[Value],
    layers: Iterable[str],
    *,
    kernel: int,
    depthwise: bool,
    pool: str,
    act: tuple[float, float],
) -> Value:
    """Convolve as the KPU can, still in float: full padding, stride 1, or every other pixel kept by ``pool``."""
    source, weights = inputs[0], inputs[1]
    batch, _, height, width = source.shape
    if pool != "none":
        height, width = height // 2, width // 2
    shape = (batch, weights.shape[0], height, width)
    return graph.add("fake_conv", inputs, shape, F32, layers, kernel=kernel, depthwise=depthwise, pool=pool, act=act)


def quantize(graph: Graph, source: Value, range_: object, layers: Iterable[str]) -> Value:
    """Turn float into uint8 codes of a range."""
    return graph.add("quantize", [source], source.shape, U8, layers, range=range_)


def dequantize(graph: Graph, source: Value, range_: object, layers: Iterable[str]) -> Value:
    """Turn uint8 codes of a range into float."""
    result = graph.add("dequantize", [source], source.shape, F32, layers, range=range_)
    result.range = range_
    result.quantised = True
    return result


def mismatched(graph: Graph, given: Value, wanted: Value) -> Value:
    """Stand for a value that a rewrite would give another shape than its readers know; there nncase stops."""
    result = graph.add("shape_mismatch", [given], wanted.shape, wanted.dtype, wanted.node.layers, given=given.shape)
    result.range = wanted.range
    return result


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape of two tensors broadcast together."""
    rank = max(len(a), len(b))
    wide_a, wide_b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    return tuple(max(m, n) if 0 not in (m, n) else 0 for m, n in zip(wide_a, wide_b, strict=True))


def is_constant(value: Value) -> bool:
    """Whether a constant gives this value."""
    return value.node.op == "constant"


def count(shape: Shape) -> int:
    """Return how many elements a shape has."""
    return math.prod(shape)


def layers_of(*nodes: Node) -> tuple[str, ...]:
    """Return the layers that several nodes come from."""
    return tuple(dict.fromkeys(layer for node in nodes for layer in node.layers))


def fused(graph: Graph, source: Value, *nodes: Node) -> Value:
    """Make one function of a value out of several nodes; no two are the same to nncase."""
    return graph.add("fused_unary", [source], source.shape, source.dtype, layers_of(*nodes), identity=object())
