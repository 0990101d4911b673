"""Random KPU layers for the tests of the arithmetic and of the simulator."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from pipeline.kmodel.registers import Pool
from pipeline.kpu.arithmetic import Layer

TABLES = ("relu", "rising", "any", "unsorted")


def table(random: np.random.Generator, kind: str, spread: int) -> tuple[np.ndarray, ...]:
    """(start, mul, shift, add) over about ±spread: nncase's ReLU, rising, with falling segments, or in disorder."""
    # With the largest of these shifts a factor of 2¹⁴ takes the whole spread to 255 codes.
    shift = random.integers(-6, 1, 16) + int(np.log2(2**14 * spread / 255))
    if kind == "relu":
        shift[:] = shift[0]
        mul = np.full(16, int(2.0 ** int(shift[0]) * 255 / spread))
        top = int(253.25 * 2.0 ** int(shift[0]) / mul[1])
        start = np.array([-(1 << 35), 0, *(top + np.arange(14) * max(1, top // 2000))])
        mul[0], add = 0, np.array([0, 0, 253, 253, *[254] * 8, *[255] * 4])
    else:
        start = np.sort(random.integers(-spread, spread, 16))
        start[0] = -(1 << 35)
        wanted = 255 / spread * random.uniform(0, 3, 16) * (1 if kind == "rising" else random.choice([-1, 0, 1], 16))
        mul = np.clip(wanted * 2.0**shift, -(2**15) + 1, 2**15 - 1).astype(np.int64)
        add = random.integers(0, 256, 16)
        if kind == "rising":
            add = np.sort(add)
        if kind == "unsorted":
            start[1:] = random.permutation(start[1:])
    return np.clip(start, -(1 << 35), (1 << 35) - 1).astype(np.int64), mul.astype(np.int64), shift, add.astype(np.int64)


def make_layer(
    seed: int,
    in_channels: int,
    out_channels: int,
    kernel: int,
    depthwise: bool = False,
    pool: Pool = Pool.NONE,
    kind: str = "relu",
    zero_point: tuple[int, int] = (-128, 0),
) -> Layer:
    """A layer whose codes vary: the batch-norm and the table fit the sums. ``zero_point`` is (arg_x, shr_x)."""
    random = np.random.default_rng(seed)
    shape = (out_channels, kernel, kernel) if depthwise else (out_channels, in_channels, kernel, kernel)
    centre = -zero_point[0] / 2 ** zero_point[1]
    weights = np.clip(random.normal(centre, 45, shape), 0, 255).astype(np.uint8)
    typical = int(128 * 45 * np.sqrt(weights[0].size)) + 1
    bn_mul = random.integers(1 << 19, 1 << 22, out_channels) * random.choice([1, 1, 1, -1], out_channels)
    bn_shift = random.integers(0, 16, out_channels)
    spread = min(int(typical * 2**20 / 2**6), 1 << 34)
    bn_shift = np.full(out_channels, 6) if kind == "relu" else np.clip(bn_shift, 4, 9)
    input_zero, shr_w = int(random.integers(0, 256)), int(random.integers(0, 4))
    start, mul, shift, add = table(random, kind, spread)
    return Layer(
        weights=weights,
        depthwise=depthwise,
        pad_value=input_zero,
        arg_x=zero_point[0],
        shr_x=zero_point[1],
        arg_w=-(input_zero << shr_w) + int(random.integers(0, 1 << shr_w)),
        shr_w=shr_w,
        arg_add=int(centre * input_zero * kernel**2),
        bn_mul=bn_mul,
        bn_shift=bn_shift,
        bn_add=random.integers(-spread // 4, spread // 4, out_channels),
        start=start,
        mul=mul,
        shift=shift,
        add=add,
        pool=pool,
    )


@st.composite
def layers(draw: st.DrawFn) -> tuple[Layer, np.ndarray]:
    """A layer and codes for it, N×C×H×W."""
    depthwise, kernel = draw(st.booleans()), draw(st.sampled_from([1, 3]))
    channels = draw(st.integers(1, 90))
    out_channels = channels if depthwise else draw(st.integers(1, 140))
    seed, kind = draw(st.integers(0, 10**6)), draw(st.sampled_from(TABLES))
    zero_point = draw(st.sampled_from([(-128, 0), (-128, 0), (-117, 0), (-4000, 5), (-1021, 3), (0, 0), (-135, 0)]))
    pool = draw(st.sampled_from(list(Pool)))
    layer = make_layer(seed, channels, out_channels, kernel, depthwise, pool, kind, zero_point)
    shape = (draw(st.integers(1, 3)), channels, draw(st.integers(4, 11)), draw(st.integers(4, 21)))
    return layer, np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
