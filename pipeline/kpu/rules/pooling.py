"""What rules ask of a pool: its window, and the convolution that the KPU would do it with."""

from __future__ import annotations

from pipeline.kpu.head import is_global_pool
from pipeline.kpu.layers import Layer
from pipeline.kpu.rules.convolution import before, has_kpu_kernel, is_depthwise
from pipeline.kpu.rules.folded import ELEMENTWISE
from pipeline.kpu.rules.rule import Site

Window = tuple[tuple[int, int], tuple[int, int]]

_POOLS = {
    ((2, 2), (2, 2)): (0, 0, 0, 0),
    ((4, 4), (4, 4)): (0, 0, 0, 0),
    ((2, 2), (1, 1)): (0, 0, 1, 1),
}
"""(kernel, stride) of the KPU's pools, and the padding that each does by itself."""


def window(layer: Layer) -> Window:
    """Return kernel and stride of a pool."""
    height, width = (int(n) for n in layer.attributes["kernel_shape"])
    return (height, width), layer.strides


def is_window_pool(layer: Layer) -> bool:
    """Whether a layer pools windows of a map, not the whole of it."""
    return (
        layer.op in ("MaxPool", "AveragePool")
        and len(layer.attributes.get("kernel_shape", ())) == 2
        and not is_global_pool(layer)
    )


def own_padding(shape: Window) -> tuple[int, int, int, int] | None:
    """Return the padding that the KPU's pool of this window does; None where it has no such pool."""
    return _POOLS.get(shape)


def feeding_conv(site: Site) -> Layer | None:
    """Return the convolution whose result the pool could be fused with; None where there is none."""
    source = before(site, *(ELEMENTWISE - {"Add", "Sum"}), "BatchNormalization")
    if source is None:
        return None
    if source.op in ("Add", "Sum"):  # the KPU's own 1×1, where it is one
        return source if len(source.out_shape) == 4 else None
    return source if has_kpu_kernel(site, source) and not is_depthwise(site, source) else None
