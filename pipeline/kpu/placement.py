"""Where nncase 1.9 runs a layer, and what it fuses with (measured with nncase 1.9.0.20230322)."""

from __future__ import annotations

import math

from pipeline.kpu import limits
from pipeline.kpu.layers import Layer
from pipeline.kpu.limits import MIN_SIDE


def runs_on_kpu(layer: Layer) -> bool:
    """Whether nncase 1.9 puts a convolution on the KPU; padding that the KPU lacks, or to 4×4, is added by the CPU."""
    if layer.op != "Conv" or len(layer.in_shape) != 4:
        return False
    _, channels, height, width = layer.in_shape
    out_channels = layer.shape[1]
    depthwise = layer.groups == channels == out_channels and channels > 1
    return (
        layer.kernel[0] == layer.kernel[1]
        and layer.kernel[0] in limits.KERNELS
        and layer.stride[0] == layer.stride[1]
        and layer.stride[0] in limits.STRIDES
        and layer.dilation == (1, 1)
        and (layer.groups == 1 or depthwise)
        and max(channels, out_channels) <= limits.MAX_CHANNELS
        and height <= limits.MAX_HEIGHT
        and width <= limits.MAX_WIDTH
    )


def is_depthwise(layer: Layer) -> bool:
    """Whether a convolution has one group a channel."""
    return layer.groups > 1 and layer.groups == layer.in_shape[1] == layer.shape[1]


def takes_slice(layer: Layer) -> bool:
    """Whether a stride-2 slice moves into this layer: a 1×1 convolution (strided_slice_motion.cpp:32)."""
    return runs_on_kpu(layer) and layer.kernel == (1, 1) and layer.stride == (1, 1) and layer.groups == 1


def pool_fuses(layer: Layer) -> bool:
    """Whether a pool becomes part of the convolution before it (kpu_utils.h:57)."""
    return (
        layer.op in ("MaxPool", "AveragePool")
        and layer.kernel[0] == layer.kernel[1]
        and layer.stride[0] == layer.stride[1]
        and (layer.kernel[0], layer.stride[0]) in limits.POOLS
        and not any(layer.pads)
    )


def sums_on_kpu(layer: Layer) -> bool:
    """Whether a residual sum becomes a concat and a 1×1 convolution."""
    return (
        len(layer.inputs) == 2
        and len(layer.shape) == 4
        and layer.in_shape == layer.shape
        and 2 * layer.shape[1] <= limits.MAX_CHANNELS
        and min(layer.shape[2:]) >= MIN_SIDE
    )


def is_product(layer: Layer) -> bool:
    """Whether a layer is fully connected: a vector times a matrix."""
    return layer.op in ("Gemm", "MatMul") and layer.weights > 0 and len(layer.shape) == 2


def is_global_mean(layer: Layer) -> bool:
    """Whether a layer averages every channel over the whole map."""
    if layer.op == "AveragePool":
        return layer.kernel == layer.in_shape[2:] and not any(layer.pads)
    return layer.op == "ReduceMean" and layer.shape[:2] == layer.in_shape[:2] and math.prod(layer.shape[2:]) == 1
