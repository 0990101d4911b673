"""Resizes (src/importer/onnx/ops/resize.cpp, upsample.cpp)."""

from __future__ import annotations

import math

from pipeline.kpu.nncase.graph import F32, Value
from pipeline.kpu.nncase.imports.operator import Import, Operator, known
from pipeline.kpu.nncase.tensors import Tensors


def _resize(t: Tensors, o: Operator) -> Value:
    """Resize by scales (opset 10: the second input, then the third) or, where they are empty, to sizes."""
    source = t[o.inputs[0]]
    if o.op == "Upsample":
        scales = known(t, o, 1) if len(o.inputs) > 1 else list(o.attributes["scales"])
    else:
        scales = known(t, o, 1 if len(o.inputs) == 2 else 2)  # even where there are sizes
    shape = (
        tuple(math.floor(n * s) for n, s in zip(source.shape, scales, strict=True))
        if scales
        else (*source.shape[:2], *(int(n) for n in known(t, o, 3)[2:]))
    )
    return t.graph.add(
        "resize_image", [source], shape, F32, o.layers, mode=o.attributes.get("mode", "nearest"),
        transform=o.attributes.get("coordinate_transformation_mode", "half_pixel"),
    )  # fmt: skip


IMPORTS: dict[str, Import] = {"Resize": _resize, "Upsample": _resize}
