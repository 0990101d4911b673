"""Pools and means ⇄ ``nn.MaxPool2d``, ``nn.AvgPool2d``, ``nn.AdaptiveAvgPool2d(1)`` and ``Mean``."""

from __future__ import annotations

import math

from torch import nn

from pipeline.network.modules import Mean
from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifted, Lifter, Writer, Written, pair, write_node
from pipeline.network.pads import explicit_pads


def lift_max_pool(operation: Operation) -> Lifted:
    """Return the ``nn.MaxPool2d``; pads that PyTorch's cannot have become a layer of −∞ before it."""
    if operation.outputs > 1:
        raise operation.refuse("it also returns the indices of the maxima")
    kernel, stride, dilation = _window(operation)
    top, left, bottom, right = explicit_pads(operation, kernel, stride, dilation)
    ceil_mode = bool(operation.attributes.get("ceil_mode", 0))
    own = (top, left) == (bottom, right) and 2 * top <= kernel[0] and 2 * left <= kernel[1]
    pool = nn.MaxPool2d(kernel, stride, (top, left) if own else 0, dilation, ceil_mode=ceil_mode)
    return Lifted(pool, before=None if own else nn.ConstantPad2d((left, right, top, bottom), -math.inf))


def lift_average_pool(operation: Operation) -> Lifted:
    """Return the ``nn.AvgPool2d``.

    Pads that are counted may differ from side to side (a layer of zeros before it); those that are not may not:
    the divisor would differ in a way PyTorch has no word for.
    """
    kernel, stride, dilation = _window(operation)
    if dilation != (1, 1):
        raise operation.refuse("it is dilated")
    top, left, bottom, right = explicit_pads(operation, kernel, stride, dilation)
    counted = bool(operation.attributes.get("count_include_pad", 0))
    ceil_mode = bool(operation.attributes.get("ceil_mode", 0))
    if (top, left) == (bottom, right) and 2 * top <= kernel[0] and 2 * left <= kernel[1]:
        return Lifted(nn.AvgPool2d(kernel, stride, (top, left), ceil_mode, counted))
    if not counted and _sees_all(operation.shape()[2:], kernel, (top, left, bottom, right)):
        return Lifted(nn.AdaptiveAvgPool2d(1))
    if not counted or ceil_mode:
        raise operation.refuse(f"pads {[top, left, bottom, right]} that are not counted in the mean")
    return Lifted(nn.AvgPool2d(kernel, stride), before=nn.ZeroPad2d((left, right, top, bottom)))


def _sees_all(image: tuple[int | None, ...], kernel: tuple[int, int], pads: tuple[int, ...]) -> bool:
    """Whether the only window holds the whole image, so that pads outside it do not count."""
    return all(
        size is not None and before + size <= side and before + size + after == side
        for size, side, before, after in zip(image, kernel, pads[:2], pads[2:], strict=True)
    )


def lift_global_pool(operation: Operation) -> nn.Module:
    """Return ``nn.AdaptiveAvgPool2d(1)`` or ``nn.AdaptiveMaxPool2d(1)``."""
    if len(operation.shape()) != 4:
        raise operation.refuse("its input is not N×C×H×W")
    return nn.AdaptiveAvgPool2d(1) if operation.op == "GlobalAveragePool" else nn.AdaptiveMaxPool2d(1)


def lift_reduce_mean(operation: Operation) -> Lifted | nn.Module:
    """Return a global average pool (and a flatten) for the mean over H and W, ``Mean`` for other axes."""
    rank = len(operation.shape())
    axes = operation.attributes.get("axes")
    if axes is None:
        raise operation.refuse("it averages over the images of a batch")
    dims = tuple(sorted(operation.axis(axis) for axis in axes))
    keepdim = bool(operation.attributes.get("keepdims", 1))
    if rank == 4 and dims == (2, 3):
        return Lifted(nn.AdaptiveAvgPool2d(1), after=() if keepdim else (("flatten", nn.Flatten()),))
    return Mean(dims, keepdim)


def _window(operation: Operation) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and dilation of a pool."""
    values = []
    for attribute in ("kernel_shape", "strides", "dilations"):
        given = [int(value) for value in operation.attributes.get(attribute, (1, 1))]
        if len(given) != 2:
            raise operation.refuse(f"{attribute} has {len(given)} values instead of 2")
        values.append((given[0], given[1]))
    return values[0], values[1], values[2]


def _write_max_pool(pool: nn.MaxPool2d, layer: Layer) -> Written:
    return write_node(
        layer,
        "MaxPool",
        ceil_mode=int(pool.ceil_mode),
        dilations=list(pair(pool.dilation)),
        kernel_shape=list(pair(pool.kernel_size)),
        pads=[*pair(pool.padding), *pair(pool.padding)],
        strides=list(pair(pool.stride)),
    )


def _write_average_pool(pool: nn.AvgPool2d, layer: Layer) -> Written:
    if pool.divisor_override is not None:
        raise ValueError("nn.AvgPool2d with a divisor of its own has no operator in ONNX")
    return write_node(
        layer,
        "AveragePool",
        ceil_mode=int(pool.ceil_mode),
        count_include_pad=int(pool.count_include_pad),
        kernel_shape=list(pair(pool.kernel_size)),
        pads=[*pair(pool.padding), *pair(pool.padding)],
        strides=list(pair(pool.stride)),
    )


def _write_adaptive(pool: nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d, layer: Layer) -> Written:
    """Return the global pool, or the plain pool that an adaptive one is where the sizes divide."""
    kind = "Average" if isinstance(pool, nn.AdaptiveAvgPool2d) else "Max"
    inside, outside = layer.shape[2:], layer.output_shape[2:]
    if outside == (1, 1):
        return write_node(layer, f"Global{kind}Pool")
    if any(size % wanted for size, wanted in zip(inside, outside, strict=True)):
        raise ValueError(f"an adaptive pool from {inside} to {outside} pixels has no operator in ONNX")
    steps = [size // wanted for size, wanted in zip(inside, outside, strict=True)]
    return write_node(layer, f"{kind}Pool", kernel_shape=steps, strides=steps)


def _write_mean(mean: Mean, layer: Layer) -> Written:
    return write_node(layer, "ReduceMean", axes=list(mean.dims), keepdims=int(mean.keepdim))


LIFT: dict[str, Lifter] = {
    "MaxPool": lift_max_pool,
    "AveragePool": lift_average_pool,
    "GlobalAveragePool": lift_global_pool,
    "GlobalMaxPool": lift_global_pool,
    "ReduceMean": lift_reduce_mean,
}
WRITE: dict[type[nn.Module], Writer] = {
    nn.MaxPool2d: _write_max_pool,
    nn.AvgPool2d: _write_average_pool,
    nn.AdaptiveAvgPool2d: _write_adaptive,
    nn.AdaptiveMaxPool2d: _write_adaptive,
    Mean: _write_mean,
}
