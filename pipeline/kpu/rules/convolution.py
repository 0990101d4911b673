"""What rules ask of a convolution: its kernel, whether it is depthwise, and what lies before and behind it."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.layers import Layer
from pipeline.kpu.rules.rule import Site

_PASSED = frozenset({"Identity", "Dropout"})


def kernel(site: Site, layer: Layer | None = None) -> tuple[int, int]:
    """Return height and width of a convolution's kernel; (0, 0) where it is none, or its weights are not constant."""
    shape = site.network.weights(layer or site.layer)
    return (shape[2], shape[3]) if (layer or site.layer).op == "Conv" and len(shape) == 4 else (0, 0)


def has_kpu_kernel(site: Site, layer: Layer | None = None) -> bool:
    """Whether a layer is a convolution with a kernel that the KPU runs."""
    height, width = kernel(site, layer)
    return height == width and height in limits.KERNELS


def is_depthwise(site: Site, layer: Layer) -> bool:
    """Whether every channel has a kernel of its own."""
    return (
        layer.op == "Conv"
        and len(layer.in_shape) == 4
        and layer.groups == layer.in_shape[1] == layer.out_shape[1]
        and layer.groups > 1
    )


def pads(site: Site) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right padding of a convolution or a pool, ``auto_pad`` worked out."""
    layer = site.layer
    mode = str(layer.attributes.get("auto_pad", "NOTSET"))
    if mode == "VALID":
        return (0, 0, 0, 0)
    if mode not in ("SAME_UPPER", "SAME_LOWER") or len(layer.in_shape) != 4:
        return layer.pads
    window = layer.attributes.get("kernel_shape") or site.network.weights(layer)[2:]
    low, high = [], []
    for i in (0, 1):
        side, stride = layer.in_shape[2 + i], layer.strides[i]
        reach = (int(window[i]) - 1) * layer.dilations[i] + 1
        needed = max(0, (-(-side // stride) - 1) * stride + reach - side)
        less, more = needed // 2, needed - needed // 2
        low.append(more if mode == "SAME_LOWER" else less)
        high.append(less if mode == "SAME_LOWER" else more)
    return (low[0], low[1], high[0], high[1])


def before(site: Site, *skipped: str) -> Layer | None:
    """Return the layer before, over layers that vanish and the operators ``skipped``."""
    layer = site.network.before(site.layer)
    while layer is not None and (layer.op in _PASSED or layer.op in skipped):
        layer = site.network.before(layer)
    return layer


def clamps(site: Site) -> tuple[str, ...]:
    """Return the operators that nncase makes part of a convolution before it looks for the KPU's."""
    return ("Clip",) if site.raw else ("Clip", "Relu", "BatchNormalization")


def only_reader(site: Site, layer: Layer, *skipped: str) -> Layer | None:
    """Return the only layer that reads a layer's output, over ``skipped`` operators; None where there are several."""
    readers = site.network.after(layer)
    while len(readers) == 1 and (readers[0].op in _PASSED or readers[0].op in skipped):
        readers = site.network.after(readers[0])
    return readers[0] if len(readers) == 1 else None


def works_on_cpu(site: Site, *operators: str) -> bool:
    """Whether the CPU does one of nncase's operators for the layer."""
    return any(op in site.predicted.cpu_ops for op in operators)


def times(*sides: int) -> str:
    """Return numbers as a text: 3×3."""
    return "×".join(map(str, sides))
