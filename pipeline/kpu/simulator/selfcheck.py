"""Whether int8 products may be trusted on this CPU: tried once a process, before the first layer runs on them."""

from __future__ import annotations

import functools

import numpy as np

from pipeline.kpu.arithmetic import NNCASE_1_9, Layer, convolve
from pipeline.kpu.simulator import vnni
from pipeline.kpu.simulator.fused import fused_layer
from pipeline.kpu.simulator.memory import Arena, PlainMap
from pipeline.kpu.simulator.plan import plan_layer

CHANNELS = 70
"""Three kinds of block (64 and 6 outputs), and a group of input channels that is not full."""


@functools.cache
def int8_products_are_exact() -> bool:
    """Run layers with extreme and random codes through the compiled path and compare with the reference."""
    if not vnni.available():
        return False
    random = np.random.default_rng(0)
    for kernel in (1, 3):
        layer = _layer(random, kernel)
        run = fused_layer(plan_layer(layer, NNCASE_1_9))
        codes = random.integers(0, 256, (3, CHANNELS, 5, 7), dtype=np.uint8)
        codes[0] = 255
        if run is None or not np.array_equal(run(PlainMap(codes), Arena()).codes(), convolve(layer, codes)):
            return False
    return True


def _layer(random: np.random.Generator, kernel: int) -> Layer:
    """Return a layer whose first channels reach the largest sums in either direction."""
    weights = random.integers(0, 256, (CHANNELS, CHANNELS, kernel, kernel), dtype=np.uint8)
    weights[0], weights[1] = 0, 255
    spread = CHANNELS * kernel**2 * 128 * 255
    segments = np.arange(16, dtype=np.int64)
    return Layer(
        weights=weights,
        depthwise=False,
        pad_value=128,
        arg_x=-128,
        shr_x=0,
        arg_w=-128,
        shr_w=0,
        arg_add=128 * 128 * kernel**2,
        bn_mul=random.integers(1 << 20, 1 << 22, CHANNELS),
        bn_shift=np.full(CHANNELS, 8),
        bn_add=random.integers(-(1 << 24), 1 << 24, CHANNELS),
        start=np.where(segments == 0, -(1 << 35), (segments - 8) * (spread << 9)),
        mul=random.integers(0, 1 << 12, 16),
        shift=np.full(16, 38),
        add=segments * 16,
    )
