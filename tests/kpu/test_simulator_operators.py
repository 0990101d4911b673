"""The CPU's operators where no runtime is at hand to ask: rounding, order of sums, v3 and v4."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pipeline.errors import KmodelError
from pipeline.kmodel import steps
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.steps import FullyConnectedActivation, Step
from pipeline.kpu.simulator.memory import Arena, Memory
from pipeline.kpu.simulator.operators import run_operator

F32, U8 = DType.FLOAT32, DType.UINT8
RANDOM = np.random.default_rng(0)


def at(start: int, *shape: int, dtype: DType = F32) -> Range:
    return Range(Location.MAIN, dtype, start, int(np.prod(shape)) * dtype.itemsize, shape)


def run(step: Step, *values: np.ndarray, version: int = 5) -> np.ndarray:
    """Write the step's inputs, run it, and return its first output."""
    memory = Memory(Kmodel(version, (), (), (), 1 << 16), len(values[0]), Arena())
    for part, value in zip(step.inputs, values, strict=True):
        memory.store(part, value)
    run_operator(step, memory, version)
    return np.array(memory.view(step.outputs[0]))


HALVES = np.array([[0.5, 1.5, 2.5, 0.49999997, -0.5, -3.0, 254.5, 300.0]], np.float32)


@pytest.mark.parametrize(
    ("step", "version", "expected"),
    [
        (steps.Quantise(at(0, 8), at(64, 8, dtype=U8), 1.0, 0.0), 5, [0, 2, 2, 0, 0, 0, 254, 255]),
        (steps.Quantise(at(0, 8), at(64, 8, dtype=U8), 1.0, 0.0), 3, [1, 2, 3, 0, 0, 0, 255, 255]),
        (steps.Quantise(at(0, 8), at(64, 8, dtype=U8), 2.0, -1.0), 3, [1, 1, 2, 1, 0, 0, 128, 151]),
        (steps.QuantiseV4(at(0, 8), at(64, 8, dtype=U8), 0, 1.0), 4, [1, 2, 3, 0, 0, 0, 255, 255]),
        (steps.QuantiseV4(at(0, 8), at(64, 8, dtype=U8), 7, 2.0), 4, [8, 10, 12, 8, 6, 1, 255, 255]),
    ],
)
def test_quantising_rounds_as_each_version_does(step: Step, version: int, expected: list[int]) -> None:
    assert run(step, HALVES, version=version)[0].tolist() == expected


def test_dequantising() -> None:
    codes = RANDOM.integers(0, 256, (2, 6), np.uint8)
    scale, bias = np.float32(0.0371), np.float32(-1.7)
    seen = run(steps.Dequantise(at(0, 6, dtype=U8), at(64, 6), float(scale), float(bias)), codes)
    np.testing.assert_array_equal(seen, codes.astype(np.float32) * scale + bias)
    seen = run(steps.DequantiseV4(at(0, 6, dtype=U8), at(64, 6), 46, float(np.float32(27.1))), codes, version=4)
    np.testing.assert_array_equal(seen, (codes - np.float32(46)) * (np.float32(1) / np.float32(27.1)))
    pairs = ((0.5, 1.0), (2.0, -3.0))
    seen = run(steps.DequantiseChannels(at(0, 2, 3, dtype=U8), at(64, 2, 3), pairs), codes.reshape(2, 2, 3), version=3)
    expected = codes.reshape(2, 2, 3) * np.array([0.5, 2.0])[:, None] + np.array([1.0, -3.0])[:, None]
    np.testing.assert_array_equal(seen, expected.astype(np.float32))


def test_sums_go_one_by_one_in_float32() -> None:
    values = (RANDOM.random((1, 1, 7, 9)) * 1000).astype(np.float32)
    total = np.float32(0)
    for value in values.reshape(-1):
        total += value
    assert total != values.sum(dtype=np.float64)
    step = steps.Reduce(at(0, 1, 7, 9), at(512, 1, 1, 1), "mean", (1, 2))
    assert run(step, values)[0, 0, 0, 0] == total / np.float32(63)
    vector = values.reshape(1, 63)
    bias = np.float32(0.3)
    fully = steps.FullyConnected(
        at(0, 63),
        at(512, 1),
        FullyConnectedActivation.LINEAR,
        struct.pack("<63f", *[1.0] * 63),
        struct.pack("<f", bias),
    )
    assert run(fully, vector, version=3)[0, 0] == total + bias  # the bias last
    first = steps.MatMul(at(0, 1, 63), at(1024, 63, 1), at(512, 1, 1), struct.pack("<f", bias))
    total = bias
    for value in vector[0]:
        total += value
    assert run(first, vector[:, None], np.ones((1, 63, 1), np.float32), version=4)[0, 0, 0] == total  # the bias first


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (FullyConnectedActivation.LINEAR, [-2, 9]),
        (FullyConnectedActivation.RELU, [0, 9]),
        (FullyConnectedActivation.RELU6, [0, 6]),
    ],
)
def test_fully_connected_activations(activation: FullyConnectedActivation, expected: list[float]) -> None:
    weights, bias = struct.pack("<4f", 1, -1, 2, 2), struct.pack("<2f", 0, 1)
    step = steps.FullyConnected(at(0, 2), at(64, 2), activation, weights, bias)
    assert run(step, np.array([[1, 3]], np.float32), version=3)[0].tolist() == expected


def test_reductions_start_from_their_first_value() -> None:
    values = np.array([[[1.0, 5.0], [2.0, -1.0]]], np.float32)
    for op, init, expected in (("min", 0.5, [0.5, -1]), ("max", 3.0, [5, 3]), ("sum", 10.0, [16, 11])):
        step = steps.Reduce(at(0, 2, 2), at(64, 2, 1), op, (1,), init)  # type: ignore[arg-type]
        assert run(step, values)[0, :, 0].tolist() == expected


def test_padding_and_cropping() -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    step = steps.Pad(at(0, 2, 3), at(64, 4, 2), ((1, 1, 0), (-1, 0, 0)), 9.0)
    assert run(step, values)[0].tolist() == [[9, 9], [1, 2], [4, 5], [9, 9]]
    with pytest.raises(KmodelError, match="constant"):
        run(steps.Pad(at(0, 2, 3), at(64, 2, 3), ((0, 0, 0), (0, 0, 0)), 0.0, mode=1), values)


def test_a_pool_counts_the_pixels_inside_only() -> None:
    values = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 1, 3, 3)
    window = ((2, 2), (2, 2), ((1, 0), (1, 0)))
    mean = steps.ReduceWindow(at(0, 1, 1, 3, 3), at(64, 1, 1, 2, 2), "mean", *window)
    assert run(mean, values)[0, 0, 0].tolist() == [[1, 2.5], [5.5, 7]]
    largest = steps.ReduceWindow(at(0, 1, 1, 3, 3), at(64, 1, 1, 2, 2), "max", *window, init=float("-inf"))
    assert run(largest, -values)[0, 0, 0].tolist() == [[-1, -2], [-4, -5]]
    codes = steps.ReduceWindow(at(0, 1, 1, 3, 3, dtype=U8), at(64, 1, 1, 2, 2, dtype=U8), "max", *window)
    assert run(codes, values, version=3)[0, 0, 0].tolist() == [[1, 3], [7, 9]]


def test_concatenation_interleaves_by_outer() -> None:
    a, b = np.arange(4, dtype=np.uint8).reshape(1, 4), np.arange(10, 16, dtype=np.uint8).reshape(1, 6)
    step = steps.Concat((at(0, 4, dtype=U8), at(16, 6, dtype=U8)), at(64, 10, dtype=U8), 2, 1, (2, 3))
    assert run(step, a, b, version=4)[0].tolist() == [0, 1, 10, 11, 12, 2, 3, 13, 14, 15]


def test_quantised_addition_in_v3_and_v4() -> None:
    a, b = np.array([[10, 200, 0]], np.uint8), np.array([[20, 100, 0]], np.uint8)
    ranges = (at(0, 3, dtype=U8), at(16, 3, dtype=U8), at(64, 3, dtype=U8))
    step = steps.QuantisedBinary("add", *ranges, rescale=((-10, 3, 1), (-20, 5, 2), (7, 1, 1)))
    # v3: ((a − 10)·3 >> 1) + ((b − 20)·5 >> 2), halved with a half away from zero; v4 rounds each addend, too.
    assert run(step, a, b, version=3)[0].tolist() == [7, 200, 0]
    assert run(step, a, b, version=4)[0].tolist() == [7, 200, 0]
    step = steps.QuantisedBinary("add", *ranges, rescale=((0, 1, 1), (0, 1, 2), (0, 1, 0)))
    assert run(step, np.array([[1, 3, 5]]), np.array([[2, 3, 0]]), version=3)[0].tolist() == [0, 1, 2]
    assert run(step, np.array([[1, 3, 5]]), np.array([[2, 3, 0]]), version=4)[0].tolist() == [2, 3, 3]


def test_quantised_division_in_v4_goes_towards_zero() -> None:
    ranges = (at(0, 3, dtype=U8), at(16, 3, dtype=U8), at(64, 3, dtype=U8))
    step = steps.QuantisedBinary("div", *ranges, rescale=((-10, 1, 0), (0, 1, 0), (100, 1, 0)))
    assert run(step, np.array([[3, 17, 9]]), np.array([[2, 2, 0]]), version=4)[0].tolist() == [97, 103, 99]


def test_binary_operators_broadcast_and_clamp() -> None:
    a, b = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32), np.array([[2.0, -1.0]], np.float32)
    step = steps.Binary("mul", at(0, 2, 2), at(64, 2), at(128, 2, 2), (-3.0, 5.0))
    assert run(step, a, b)[0].tolist() == [[2, -2], [5, -3]]
    with pytest.raises(KmodelError, match="bitwise_xor"):
        run(steps.Binary("bitwise_xor", at(0, 2, 2), at(64, 2), at(128, 2, 2)), a, b)


def test_softmax_logistic_length_flatten_requantise_and_lookup() -> None:
    values = np.array([[-50.0, -49.0, -51.0]], np.float32)
    exact = np.exp(values + 49) / np.exp(values + 49).sum()
    np.testing.assert_allclose(run(steps.Softmax(at(0, 3), at(64, 3), 0), values), exact, rtol=1e-6)
    # v3's runtime starts its maximum at the smallest positive float: far below zero all powers underflow or shrink.
    v3 = run(steps.Softmax(at(0, 3), at(64, 3), 0), values, version=3)
    np.testing.assert_allclose(v3, exact, rtol=1e-3)
    np.testing.assert_allclose(run(steps.Logistic(at(0, 3), at(64, 3)), values / 50), 1 / (1 + np.exp(-values / 50)))
    length = run(steps.L2Norm(at(0, 3), at(64, 3)), values, version=3)
    np.testing.assert_allclose(length, values / np.linalg.norm(values), rtol=1e-6)
    cube = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    flat = run(steps.Flatten(at(0, 1, 2, 2, 2), at(64, 8)), cube, version=3)
    assert flat[0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    codes = np.array([[0, 3, 255]], np.uint8)
    table = bytes(reversed(range(256)))
    step = steps.Requantise(at(0, 3, dtype=U8), at(64, 3, dtype=U8), table)
    assert run(step, codes, version=3)[0].tolist() == [255, 252, 0]
    lookup = steps.Lookup(at(0, 3, dtype=U8), at(64, 3, dtype=U8), at(128, 256, dtype=U8))
    assert run(lookup, codes, np.frombuffer(table, np.uint8)[None], version=4)[0].tolist() == [255, 252, 0]


def test_slices_transposes_and_functions() -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert run(steps.Slice(at(0, 2, 3), at(64, 2, 2), (0, 0), (2, 3), (1, 2)), values)[0].tolist() == [[0, 2], [3, 5]]
    assert run(steps.Transpose(at(0, 2, 3), at(64, 3, 2), (1, 0)), values)[0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert run(steps.Unary(at(0, 2, 3), at(64, 2, 3), "square"), values)[0].tolist() == [[0, 1, 4], [9, 16, 25]]
    with pytest.raises(KmodelError, match="acos"):
        run(steps.Unary(at(0, 2, 3), at(64, 2, 3), "acos"), values)
    with pytest.raises(KmodelError, match="masks"):
        run(steps.Slice(at(0, 2, 3), at(64, 2, 3), (0, 0), (2, 3), (1, 1), (1, 0, 0, 0, 0)), values)


@pytest.mark.parametrize(
    ("align", "half", "expected"),
    [(False, False, [0, 0, 1, 1, 2]), (True, False, [0, 1, 1, 2, 2]), (False, True, [0, 0, 1, 2, 2])],
)
def test_nearest_pixels(align: bool, half: bool, expected: list[int]) -> None:
    """Positions 0, .6, 1.2, …; corners aligned: 0, .5, 1, …, halves away from zero; half pixels: .3, .9, 1.5, …"""
    values = np.array([[[[[0.0, 1.0, 2.0]]]]], np.float32)
    step = steps.Resize(at(0, 1, 1, 1, 3), at(64, 1, 1, 1, 5), "nearest", align, half)
    assert run(step, values).reshape(-1).tolist() == expected
