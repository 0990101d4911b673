"""What rules ask of a layer that takes parts of a map: a Split, or a Slice of step 1."""

from __future__ import annotations

import numpy as np

from pipeline.kpu.layers import Layer
from pipeline.kpu.rules.folded import bounds
from pipeline.kpu.rules.rule import Site

_KEEP_RANGE = frozenset({"MaxPool", "AveragePool", "Transpose", "Reshape", "Identity", "Dropout"})


def axis_of_parts(site: Site) -> int | None:
    """Return the only axis along which a layer cuts its input, 1 for channels; None where it cuts none or several."""
    layer = site.layer
    shape, parts = layer.in_shape, [site.network.shapes.get(name, ()) for name in layer.outputs]
    if layer.op not in ("Split", "Slice") or len(shape) != 4 or any(len(part) != 4 for part in parts) or _steps(site):
        return None
    cut = {axis for part in parts for axis in range(4) if part[axis] != shape[axis]}
    return cut.pop() if len(cut) == 1 else None


def parts_behind_the_first(site: Site) -> tuple[str, ...]:
    """Return the parts that do not begin where the map begins."""
    layer = site.layer
    if layer.op == "Split":
        return layer.outputs[1:]
    starts = _integers(site, 1, "starts")
    return layer.outputs if any(start != 0 for start in starts) else ()


def read_by_convolutions(site: Site, tensors: tuple[str, ...]) -> list[Layer]:
    """Return the KPU's convolutions that read one of the tensors."""
    loads = {each.name for each in site.prediction.layers if each.weight_loads}
    readers = [reader for tensor in tensors for reader in site.network.readers.get(tensor, ())]
    return [reader for reader in readers if reader.op in ("Conv", "Gemm") and reader.name in loads]


def is_bounded(site: Site) -> bool:
    """Whether a clamp with two ends gives the map, so that all its parts are likely to span the same range."""
    layer = site.network.before(site.layer)
    while layer is not None and layer.op in _KEEP_RANGE:
        layer = site.network.before(layer)
    return layer is not None and layer.op == "Clip" and bool(np.isfinite(bounds(site.network, layer)).all())


def _steps(site: Site) -> bool:
    return site.layer.op == "Slice" and any(step != 1 for step in _integers(site, 4, "steps"))


def _integers(site: Site, index: int, name: str) -> list[int]:
    layer = site.layer
    if index < len(layer.inputs) and layer.inputs[index]:
        array = site.network.array(layer.inputs[index])
        return [] if array is None else [int(n) for n in array.reshape(-1)]
    return [int(n) for n in layer.attributes.get(name, ())]
