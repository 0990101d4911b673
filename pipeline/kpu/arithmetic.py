"""The KPU's integer arithmetic: what each step computes, bit for bit, written to be read.

One KPU layer takes a uint8 map x and gives a uint8 map y. Formula by formula (nncase v1.9.0,
modules/k210/include/nncase/kernels/k210/k210_kernels.h, functions ``kpu_conv2d`` and ``kpu_pool2d``; all right shifts
are arithmetic, all values fit 64 bits):

1. *Sum of products* (k210_kernels.h, "conv"). Outside the map x = ``pad_value`` (3×3: one pixel on each side)::

       acc = Σ x·w + (arg_x·Σx >> shr_x) + (arg_w·Σw >> shr_w) + arg_add·n

   over the kernel window and the input channels; n is the number of input channels, 1 when depthwise. ``arg_x`` is
   minus the zero point of the weights, ``arg_w`` minus that of the input, ``arg_add`` their product times k².
2. *Batch-norm* (k210_kernels.h, "bn act"), per output channel::

       v = (acc·bn_mul >> bn_shift) + bn_add

3. *Activation*: sixteen linear segments. The last one that has ``start < v`` gives::

       y = clamp(round((v − start)·mul / 2^shift) + add, 0, 255)

   The product is rounded by ``carry_shift<int64_t, Banker=true>`` (runtime/runtime_op_utility.h): half to even for a
   positive product. A negative one (a falling segment) is floored, and *one less* than the floor where the fraction is
   over one half, or is one half and the floor is odd: the code rounds away from zero what was rounded down already.
4. *Pool* (``kpu_pool2d``): maximum, mean (integer sum divided by k², rounded down) or one pixel of each 2×2 or 4×4
   window; ⌊in/stride⌋ pixels a side. The 2×2 windows of stride 1 reach one pixel over the edge: a maximum leaves that
   pixel out, a mean repeats the edge. Stride 2 is the left-top pool: the layer runs at full resolution.

nncase 0.1's emulator (v0.1.0-rc5 src/NnCase.Converter.K210/Converters/Layers/K210Conv2d.cs, ``ForwardActivation`` and
``CarryShift``) takes the last segment with ``start <= v`` and rounds half up (a negative product: floor, less one from
a half on). Which of the two the silicon does is not known, so it is a ``Variant``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.registers import Pool

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Variant:
    """How the activation is read where implementations differ.

    Attributes:
        name: what to call it on a command line.
        inclusive: a segment also holds its own start (``start <= v``) instead of only what lies above it.
        half_to_even: a product's half is rounded to the even code instead of up.
    """

    name: str
    inclusive: bool
    half_to_even: bool


NNCASE_1_9: Final = Variant("nncase-1.9", inclusive=False, half_to_even=True)
NNCASE_0_1: Final = Variant("nncase-0.1", inclusive=True, half_to_even=False)
VARIANTS: Final = {variant.name: variant for variant in (NNCASE_1_9, NNCASE_0_1)}


@dataclass(frozen=True, eq=False)
class Layer:
    """The numbers of one KPU layer, decoded.

    Attributes:
        weights: uint8, out × in × k × k, or channels × k × k when depthwise; k is 1 or 3.
        depthwise: each channel is convolved by itself.
        pad_value: the code outside the map.
        arg_x, shr_x, arg_w, shr_w, arg_add: the zero-point terms of formula 1.
        bn_mul, bn_shift, bn_add: int64, one an output channel.
        start, mul, shift, add: int64, the sixteen segments.
        pool: the fused pool.
    """

    weights: Codes
    depthwise: bool
    pad_value: int
    arg_x: int
    shr_x: int
    arg_w: int
    shr_w: int
    arg_add: int
    bn_mul: Int64s
    bn_shift: Int64s
    bn_add: Int64s
    start: Int64s
    mul: Int64s
    shift: Int64s
    add: Int64s
    pool: Pool = Pool.NONE

    @property
    def kernel(self) -> int:
        """Side of the kernel: 1 or 3."""
        return self.weights.shape[-1]

    @property
    def in_channels(self) -> int:
        """Channels of the input map."""
        return self.weights.shape[0 if self.depthwise else 1]

    @property
    def out_channels(self) -> int:
        """Channels of the output map."""
        return self.weights.shape[0]


def decode_layer(conv: KpuConv) -> Layer:
    """Return the numbers of a kmodel's convolution."""
    registers, norm, act = conv.registers, conv.batch_norm, conv.activation
    return Layer(
        weights=conv.weight_array,
        depthwise=registers.depthwise,
        pad_value=registers.pad_value,
        arg_x=registers.arg_x,
        shr_x=registers.shr_x,
        arg_w=registers.arg_w,
        shr_w=registers.shr_w,
        arg_add=registers.arg_add,
        bn_mul=norm.mul,
        bn_shift=norm.shift,
        bn_add=norm.add,
        start=act.start,
        mul=act.mul,
        shift=act.shift,
        add=act.add,
        pool=registers.pool,
    )


def convolve(layer: Layer, codes: Codes, variant: Variant = NNCASE_1_9) -> Codes:
    """Run one layer on uint8 N×C×H×W codes: the reference, slow and plain."""
    acc = accumulate(layer, codes.astype(np.int64))
    return pool_codes(activate(layer, normalise(layer, acc), variant), layer.pool)


def accumulate(layer: Layer, codes: Int64s) -> Int64s:
    """Formula 1: int64 N×C×H×W codes to N×out×H×W sums."""
    margin = layer.kernel // 2
    height, width = codes.shape[2:]
    padded = np.pad(codes, ((0, 0), (0, 0), (margin, margin), (margin, margin)), constant_values=layer.pad_value)
    weights = layer.weights.astype(np.int64)
    products = np.zeros((len(codes), layer.out_channels, height, width), np.int64)
    sum_x = np.zeros((len(codes), layer.in_channels if layer.depthwise else 1, height, width), np.int64)
    for ky in range(layer.kernel):
        for kx in range(layer.kernel):
            x = padded[:, :, ky : ky + height, kx : kx + width]
            if layer.depthwise:
                products += x * weights[:, ky, kx, None, None]
                sum_x += x
            else:
                products += np.moveaxis(np.tensordot(x, weights[:, :, ky, kx], (1, 1)), 3, 1)
                sum_x += x.sum(axis=1, keepdims=True)
    total: Int64s = products + (layer.arg_x * sum_x >> layer.shr_x) + constant_terms(layer)[:, None, None]
    return total


def constant_terms(layer: Layer) -> Int64s:
    """The part of formula 1 that no pixel changes, one an output channel: ``(arg_w·Σw >> shr_w) + arg_add·n``."""
    sum_w = layer.weights.astype(np.int64).reshape(layer.out_channels, -1).sum(axis=1)
    channels = 1 if layer.depthwise else layer.in_channels
    terms: Int64s = (layer.arg_w * sum_w >> layer.shr_w) + layer.arg_add * channels
    return terms


def normalise(layer: Layer, acc: Int64s) -> Int64s:
    """Formula 2: the batch-norm, channels on axis 1."""
    mul, shift, add = (values.reshape(-1, 1, 1) for values in (layer.bn_mul, layer.bn_shift, layer.bn_add))
    result: Int64s = (acc * mul >> shift) + add
    return result


def activate(layer: Layer, values: Int64s, variant: Variant = NNCASE_1_9) -> Codes:
    """Formula 3: any array of v to codes.

    What lies below every start (undefined in nncase's code; segment 0 starts at −2³⁵, below any v) takes segment 0.
    """
    index = np.zeros(values.shape, np.int64)
    for segment in range(1, len(layer.start)):
        begins = layer.start[segment]
        index[values >= begins if variant.inclusive else values > begins] = segment
    product = (values - layer.start[index]) * layer.mul[index]
    return np.clip(_carry_shift(product, layer.shift[index], variant) + layer.add[index], 0, 255).astype(np.uint8)


def _carry_shift(product: Int64s, shift: Int64s, variant: Variant) -> Int64s:
    """``product / 2^shift`` rounded as the variant does (see the module's text on negative products)."""
    shift = np.minimum(shift, 62)  # a product has 52 bits: any more shifts give the same
    floor = product >> shift
    twice_fraction = (product - (floor << shift)) << 1
    one = np.int64(1) << shift
    carry = (twice_fraction > one) | ((twice_fraction == one) & (floor % 2 == 1 if variant.half_to_even else True))
    rounded: Int64s = floor + np.where(carry & (shift > 0), np.where(product < 0, -1, 1), 0)
    return rounded


def pool_codes(codes: Codes, pool: Pool) -> Codes:
    """Formula 4: uint8 N×C×H×W codes, pooled."""
    if pool is Pool.NONE:
        return codes
    size, stride = pool_window(pool)
    height, width = codes.shape[2] // stride, codes.shape[3] // stride
    if pool in (Pool.LEFT_TOP_2, Pool.LEFT_TOP_4, Pool.RIGHT_TOP_2):
        first = 1 if pool is Pool.RIGHT_TOP_2 else 0
        return codes[:, :, ::stride, first::stride][:, :, :height, :width]
    over = size - stride  # a stride-1 window reaches one pixel over the edge
    padded = np.pad(codes, ((0, 0), (0, 0), (0, over), (0, over)), mode="edge")
    windows = np.stack(
        [
            padded[:, :, y : y + height * stride : stride, x : x + width * stride : stride]
            for y in range(size)
            for x in range(size)
        ]
    )
    result: Codes
    if pool in (Pool.MAX_2_STRIDE_2, Pool.MAX_4_STRIDE_4, Pool.MAX_2_STRIDE_1):
        result = windows.max(axis=0)  # repeating the edge does not change a maximum
    else:
        result = (windows.sum(axis=0, dtype=np.uint32) // (size * size)).astype(np.uint8)
    return result


def pool_window(pool: Pool) -> tuple[int, int]:
    """Return the side and the stride of a pool's window (runtime_op_utility.h ``get_kpu_filter_size``/``_stride``)."""
    stride = pool.stride
    return (2 if pool in (Pool.MAX_2_STRIDE_1, Pool.MEAN_2_STRIDE_1) else stride), stride
