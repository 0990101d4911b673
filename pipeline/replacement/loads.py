"""Convolutions whose weights the KPU would load in more portions than it counts, and what would be within its limit."""

from __future__ import annotations

from torch import nn

from pipeline.kpu import limits
from pipeline.kpu.memory.kmodel_size import BATCH_NORM_BYTES, V5_ALIGNMENT, V5_CONV
from pipeline.replacement.convolution import not_dense_same, pair
from pipeline.replacement.rule import Miss

_LAYER_BYTES = V5_CONV + 2 * V5_ALIGNMENT
"""What one more layer takes beside weights and BatchNorm, alignment included, at most."""


def too_many_loads(conv: nn.Conv2d) -> int | Miss:
    """Return the weight loads of a dense convolution that has too many of them, or why it is none."""
    if pair(conv.kernel_size) not in [(side, side) for side in limits.KERNELS]:
        return Miss("not a kernel of the KPU")
    reason = not_dense_same(conv)
    if reason:
        return Miss(reason)
    widest = max(conv.in_channels, conv.out_channels)
    if widest > limits.MAX_CHANNELS:
        return Miss(f"{widest:,} channels, over {limits.MAX_CHANNELS:,}")
    loads = limits.weight_loads(conv.in_channels, conv.out_channels, pair(conv.kernel_size)[0])
    if loads <= limits.MAX_WEIGHT_LOADS:
        return Miss(f"{loads} weight loads, within the KPU's {limits.MAX_WEIGHT_LOADS}")
    return loads


def widest_input(out_channels: int, kernel: int) -> int:
    """Return the most input channels that ``out_channels`` allow within channel count and weight loads."""
    channels_a_load = -(-out_channels // limits.MAX_WEIGHT_LOADS)
    return min(limits.MAX_CHANNELS, limits.WEIGHT_CACHE_BYTES // (kernel * kernel * channels_a_load))


def free_rank(rows: int, columns: int) -> int:
    """Return the most channels between two layers, of ``rows`` and ``columns`` weights each for one, at no more bytes.

    Args:
        rows: with ``columns``, of the matrix that the two take the place of.
        columns: of it.
    """
    return max(1, (rows * columns - _LAYER_BYTES) // (rows + columns + BATCH_NORM_BYTES))
