"""The reference arithmetic against the loops of nncase's source, written out for one number at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator_layers import layers, make_layer

from pipeline.kmodel.registers import Pool
from pipeline.kpu.arithmetic import NNCASE_0_1, NNCASE_1_9, Layer, Variant, activate, convolve, pool_codes


def banker(value: int, shift: int) -> int:
    """nncase v1.9.0 runtime_op_utility.h ``carry_shift<int64_t, true>``."""
    if shift <= 0:
        return value
    integral, fractional, half = value >> shift, value & ((1 << shift) - 1), 1 << (shift - 1)
    sign = -1 if value < 0 else 1
    if fractional < half:
        return integral
    if fractional > half:
        return integral + sign
    return integral + sign if integral & 1 else integral


def half_up(value: int, shift: int) -> int:
    """nncase v0.1.0-rc5 K210Conv2d.cs ``CarryShift``."""
    if shift > 0:
        value >>= shift - 1
        value = (value >> 1) + (-1 if value < 0 else 1) if value & 1 else value >> 1
    return value


def one_code(layer: Layer, value: int, variant: Variant) -> int:
    segment = 0
    for index in range(15, -1, -1):
        start = int(layer.start[index])
        if start < value or (variant.inclusive and start == value):
            segment = index
            break
    product = (value - int(layer.start[segment])) * int(layer.mul[segment])
    carry_shift = banker if variant.half_to_even else half_up
    return min(max(carry_shift(product, int(layer.shift[segment])) + int(layer.add[segment]), 0), 255)


def one_value(layer: Layer, image: np.ndarray, channel: int, y: int, x: int) -> int:
    """k210_kernels.h ``kpu_conv2d`` up to the batch-norm."""
    value = sum_x = sum_w = 0
    inputs = [channel] if layer.depthwise else range(layer.in_channels)
    for depth, source in enumerate(inputs):
        weights = layer.weights[channel] if layer.depthwise else layer.weights[channel, depth]
        for ky in range(layer.kernel):
            for kx in range(layer.kernel):
                row, column = y + ky - layer.kernel // 2, x + kx - layer.kernel // 2
                inside = 0 <= row < image.shape[1] and 0 <= column < image.shape[2]
                code = int(image[source, row, column]) if inside else layer.pad_value
                weight = int(weights[ky, kx])
                sum_x, sum_w, value = sum_x + code, sum_w + weight, value + code * weight
    total = value + (layer.arg_x * sum_x >> layer.shr_x) + (layer.arg_w * sum_w >> layer.shr_w)
    total += layer.arg_add * len(inputs)
    return (total * int(layer.bn_mul[channel]) >> int(layer.bn_shift[channel])) + int(layer.bn_add[channel])


@settings(max_examples=25, deadline=None)
@given(layers(), st.sampled_from([NNCASE_1_9, NNCASE_0_1]), st.randoms(use_true_random=False))
def test_convolution_and_activation(sample: tuple[Layer, np.ndarray], variant: Variant, random: object) -> None:
    layer, codes = sample
    layer = Layer(**{**vars(layer), "pool": Pool.NONE})
    result = convolve(layer, codes, variant)
    for _ in range(12):
        n, channel, y, x = (random.randrange(size) for size in result.shape)  # type: ignore[attr-defined]
        value = one_value(layer, codes[n], channel, y, x)
        assert result[n, channel, y, x] == one_code(layer, value, variant)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["relu", "rising", "any", "unsorted"]),
    st.sampled_from([NNCASE_1_9, NNCASE_0_1]),
    st.lists(st.integers(-(1 << 35) + 1, (1 << 35) - 1), min_size=1, max_size=20),
    st.integers(-2, 2),
)
def test_activation(seed: int, kind: str, variant: Variant, values: list[int], beside: int) -> None:
    layer = make_layer(seed, 1, 1, 1, kind=kind)
    values = values + [int(start) + beside for start in layer.start[1:]]
    expected = [one_code(layer, value, variant) for value in values]
    assert activate(layer, np.array(values), variant).tolist() == expected


def flat_table(mul: int, shift: int, add: int) -> Layer:
    layer = make_layer(0, 1, 1, 1)
    start = np.full(16, (1 << 35) - 1)
    start[0] = -(1 << 35)
    start[1] = 0
    ones = np.ones(16, np.int64)
    return Layer(**{**vars(layer), "start": start, "mul": ones * mul, "shift": ones * shift, "add": ones * add})


@pytest.mark.parametrize(
    ("variant", "expected"),
    [(NNCASE_1_9, [10, 12, 12, 14]), (NNCASE_0_1, [11, 12, 13, 14])],
)
def test_halves(variant: Variant, expected: list[int]) -> None:
    codes = activate(flat_table(mul=1, shift=1, add=10), np.array([1, 3, 5, 7]), variant)
    assert codes.tolist() == expected


def test_negative_products_are_rounded_away_from_zero_twice() -> None:
    """−0.6, −0.4, −1.5 and −2.5: the floor, and one less where the fraction is over a half, or a half and odd."""
    layer = flat_table(mul=-1, shift=10, add=100)
    values = np.array([614, 410, 1536, 2560])
    assert activate(layer, values, NNCASE_1_9).tolist() == [99, 98, 98, 96]
    assert activate(layer, values, NNCASE_0_1).tolist() == [99, 98, 97, 96]


def test_a_start_belongs_to_the_segment_below_in_nncase_1_9_and_above_in_0_1() -> None:
    layer = flat_table(mul=0, shift=0, add=0)
    layer = Layer(**{**vars(layer), "add": np.arange(16)})
    assert activate(layer, np.array([-1, 0, 1]), NNCASE_1_9).tolist() == [0, 0, 1]
    assert activate(layer, np.array([-1, 0, 1]), NNCASE_0_1).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (Pool.NONE, [[1, 2, 9], [4, 8, 3], [7, 5, 6]]),
        (Pool.MAX_2_STRIDE_2, [[8]]),
        (Pool.MEAN_2_STRIDE_2, [[3]]),  # 15 // 4
        (Pool.LEFT_TOP_2, [[1]]),
        (Pool.RIGHT_TOP_2, [[2]]),
        (Pool.MAX_2_STRIDE_1, [[8, 9, 9], [8, 8, 6], [7, 6, 6]]),
        (Pool.MEAN_2_STRIDE_1, [[3, 5, 6], [6, 5, 4], [6, 5, 6]]),  # the edge repeats
        (Pool.MAX_4_STRIDE_4, np.zeros((0, 0))),
    ],
)
def test_pools_of_a_map_of_odd_size(pool: Pool, expected: object) -> None:
    codes = np.array([[1, 2, 9], [4, 8, 3], [7, 5, 6]], np.uint8)[None, None]
    np.testing.assert_array_equal(pool_codes(codes, pool)[0, 0], np.array(expected))


def test_pools_of_four() -> None:
    codes = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    assert pool_codes(codes, Pool.MAX_4_STRIDE_4)[0, 0].tolist() == [[27, 31], [59, 63]]
    assert pool_codes(codes, Pool.MEAN_4_STRIDE_4)[0, 0].tolist() == [[13, 17], [45, 49]]
    assert pool_codes(codes, Pool.LEFT_TOP_4)[0, 0].tolist() == [[0, 4], [32, 36]]
