"""Pools (src/importer/onnx/ops/pool.cpp)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import F32, Value
from pipeline.kpu.nncase.imports.convolution import too_small, window_padding
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator
from pipeline.kpu.nncase.nodes import reduce
from pipeline.kpu.nncase.tensors import Tensors, pair


def _pool(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        source = t[o.inputs[0]]
        if len(source.shape) != 4:
            raise ImportRefused(f"a pool over {len(source.shape) - 2} dimensions")
        kernel, strides = pair(o.attributes["kernel_shape"]), pair(o.attributes.get("strides"))
        dilation = pair(o.attributes.get("dilations"))
        pads = window_padding(o, source.shape[2:], kernel, strides, dilation)
        sides = []
        for i in (0, 1):  # ceil_mode is not looked at
            room = source.shape[2 + i] + sum(pads[i]) - (dilation[i] * (kernel[i] - 1) + 1)
            sides.append(room // strides[i] + 1)
        if min(sides) < 1:
            raise too_small(o.name, kernel, source.shape)
        return t.graph.add(
            "reduce_window2d", [source], (*source.shape[:2], *sides), F32, o.layers, kind=kind, kernel=kernel,
            strides=strides, pads=pads, dilation=dilation,
        )  # fmt: skip

    return build


def _global_pool(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        source = t[o.inputs[0]]
        return reduce(t.graph, kind, source, range(2, len(source.shape)), True, o.layers)

    return build


IMPORTS: dict[str, Import] = {
    "AveragePool": _pool("mean"),
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("max"),
    "MaxPool": _pool("max"),
}
