"""What one convolution of the KPU can be, and how much memory the chip has.

The limits are those of nncase v1.9.0, whose paths are relative to ``modules/k210`` of kendryte/nncase at that tag.
nncase checks all of them but one: it does not check the number of weight loads (see ``weight_loads``).
"""

from __future__ import annotations

KERNELS = (1, 3)
"""Sides of the square kernels that the KPU runs (include/nncase/transforms/k210/kpu_utils.h:36)."""

MAX_CHANNELS = 1024
"""Channels of an input or an output: the register holds ``channels − 1`` in 10 bits (kpu_utils.h:21,26)."""

MIN_SIDE = 4
"""Smallest height and width of a KPU map (kpu_utils.h:21)."""

MAX_HEIGHT = 256
"""Greatest height of an input (kpu_utils.h:21)."""

MAX_WIDTH = 512
"""Greatest width of an input (kpu_utils.h:21)."""

STRIDES = (1, 2)
"""Stride 2 runs at full resolution and keeps every other pixel (src/transforms/k210/fake_kpu_conv2d.cpp:141)."""

POOLS = ((2, 2), (4, 4), (2, 1))
"""(kernel, stride) of the pools that fuse behind a non-depthwise convolution (kpu_utils.h:57)."""

WEIGHT_CACHE_BYTES = 30720
"""uint8 weights the KPU holds at once (src/codegen/ops/k210/kpu_conv2d.cpp:40)."""

MAX_WEIGHT_LOADS = 64
"""Weight loads of one layer: the register ``load_time`` holds ``loads − 1`` in 6 bits; nncase does not check it and
encodes a smaller number (3×3, 512 → 512 channels gives 22 loads instead of 86, measured with 1.9.0.20230322)."""

KPU_MEMORY_BYTES = 2 * 1024 * 1024
"""AI SRAM at 0x80600000, for feature maps only (kendryte-standalone-sdk, platform.h)."""

MAIN_MEMORY_BYTES = 6 * 1024 * 1024
"""General SRAM at 0x80000000: program, heap and model (kendryte-standalone-sdk, platform.h)."""


def weight_loads(in_channels: int, out_channels: int, kernel: int, depthwise: bool = False) -> int:
    """Return in how many portions the KPU loads the weights of a layer (src/codegen/ops/k210/kpu_conv2d.cpp:40-48).

    A depthwise layer loads all its weights at once; any other as many whole output channels as the cache holds. One
    output channel that alone exceeds the cache counts as one load.
    """
    if depthwise:
        return 1
    channels_a_load = max(1, min(out_channels, WEIGHT_CACHE_BYTES // (kernel * kernel * in_channels)))
    return -(-out_channels // channels_a_load)


def widest_output(in_channels: int, kernel: int) -> int:
    """Return the most output channels that ``in_channels`` allow within channel count and weight loads."""
    channels_a_load = max(1, WEIGHT_CACHE_BYTES // (kernel * kernel * in_channels))
    return min(MAX_CHANNELS, MAX_WEIGHT_LOADS * channels_a_load)
