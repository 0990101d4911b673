"""The fast ways to run a KPU layer against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator_layers import TABLES, layers, make_layer

from pipeline.kmodel.registers import Pool
from pipeline.kpu.arithmetic import NNCASE_0_1, NNCASE_1_9, Layer, Variant, activate, convolve
from pipeline.kpu.simulator import selfcheck, tensors, vnni
from pipeline.kpu.simulator.fused import fused_layer
from pipeline.kpu.simulator.memory import Arena, PlainMap
from pipeline.kpu.simulator.plan import CONSTANT, plan_layer
from pipeline.kpu.simulator.selfcheck import int8_products_are_exact
from pipeline.kpu.simulator.tensors import tensor_layer, weight_chunks

CPU = torch.device("cpu")
VARIANTS = st.sampled_from([NNCASE_1_9, NNCASE_0_1])
needs_vnni = pytest.mark.skipif(not vnni.available(), reason="this CPU has no AVX-512 VNNI; float32 products are used")


def fast(layer: Layer, codes: np.ndarray, variant: Variant = NNCASE_1_9) -> np.ndarray | None:
    run = fused_layer(plan_layer(layer, variant))
    return None if run is None else run(PlainMap(codes), Arena()).codes()


def with_tensors(layer: Layer, codes: np.ndarray, variant: Variant = NNCASE_1_9) -> np.ndarray:
    run = tensor_layer(plan_layer(layer, variant), CPU)
    assert run is not None
    return run(PlainMap(codes), Arena()).codes()


@needs_vnni
@settings(max_examples=150, deadline=None)
@given(layers(), VARIANTS)
def test_int8_products_equal_the_reference(sample: tuple[Layer, np.ndarray], variant: Variant) -> None:
    layer, codes = sample
    seen = fast(layer, codes, variant)
    if seen is None:
        assert not plan_layer(layer, variant).int8_weights
    else:
        np.testing.assert_array_equal(seen, convolve(layer, codes, variant))


@settings(max_examples=60, deadline=None)
@given(layers(), VARIANTS)
def test_tensors_equal_the_reference(sample: tuple[Layer, np.ndarray], variant: Variant) -> None:
    layer, codes = sample
    np.testing.assert_array_equal(with_tensors(layer, codes, variant), convolve(layer, codes, variant))


@settings(max_examples=40, deadline=None)
@given(layers(), VARIANTS)
def test_the_activation_for_other_devices_equals_the_reference(
    sample: tuple[Layer, np.ndarray], variant: Variant
) -> None:
    layer, codes = sample
    layer = Layer(**{**vars(layer), "pool": Pool.NONE})
    plan = plan_layer(layer, variant)
    # The pieces hold for sums that the channel's own weights can give, not for those of another channel.
    reach = np.abs(plan.weights.astype(np.int64)).reshape(layer.out_channels, -1).sum(axis=1) * 255
    random = np.random.default_rng(len(codes))
    sums = torch.from_numpy(
        np.stack([random.integers(-most, most + 1, (1, 200)) for most in reach])[None].astype(float)
    )
    values = np.floor(sums.numpy() * plan.factor[:, None, None] + plan.addend[:, None, None]).astype(np.int64)
    np.testing.assert_array_equal(tensors._activate(plan, CPU)(sums).numpy(), activate(layer, values, variant))


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "kernel", "height", "width"),
    [(1024, 1024, 1, 4, 4), (512, 130, 3, 4, 5), (1, 1, 3, 4, 4), (3, 16, 3, 5, 320), (1000, 7, 3, 4, 4)],
)
def test_extreme_sizes(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> None:
    layer = make_layer(1, in_channels, out_channels, kernel)
    codes = np.random.default_rng(2).integers(0, 256, (1, in_channels, height, width), np.uint8)
    expected = convolve(layer, codes)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(with_tensors(layer, codes), expected)
    if vnni.available():
        np.testing.assert_array_equal(fast(layer, codes), expected)


@pytest.mark.parametrize("code", [0, 255])
@pytest.mark.parametrize("weight", [0, 255])
def test_the_largest_sums(code: int, weight: int) -> None:
    layer = make_layer(3, 1024, 20, 3)
    layer = Layer(**{**vars(layer), "weights": np.full_like(layer.weights, weight), "pad_value": code})
    codes = np.full((1, 1024, 4, 4), code, np.uint8)
    expected = convolve(layer, codes)
    np.testing.assert_array_equal(with_tensors(layer, codes), expected)
    if vnni.available():
        np.testing.assert_array_equal(fast(layer, codes), expected)


def test_chunks_of_channels_stay_below_float32s_integers() -> None:
    plan = plan_layer(make_layer(1, 1024, 33, 3), NNCASE_1_9)
    chunks = weight_chunks(plan, CPU)
    assert len(chunks) > 1
    assert [first for first, _, _ in chunks[1:]] == [last for _, last, _ in chunks[:-1]]
    assert (chunks[0][0], chunks[-1][1]) == (0, 1024)
    for _, _, weights in chunks:
        assert float(weights.abs().sum(dim=(1, 2, 3)).max()) * 255 < 1 << 24


def test_a_layer_that_float64_does_not_hold_is_left_to_the_reference() -> None:
    layer = make_layer(1, 8, 8, 1)
    layer = Layer(**{**vars(layer), "arg_add": 1 << 38, "bn_mul": np.full(8, (1 << 23) - 1)})
    plan = plan_layer(layer, NNCASE_1_9)
    assert not plan.exact
    assert fused_layer(plan) is None
    assert tensor_layer(plan, CPU) is None


@pytest.mark.parametrize("variant", [NNCASE_1_9, NNCASE_0_1])
@pytest.mark.parametrize("kind", TABLES)
def test_pieces_are_fewest_where_nothing_changes(kind: str, variant: Variant) -> None:
    pieces = plan_layer(make_layer(5, 16, 16, 1, kind=kind), variant).pieces
    assert pieces.first[0] == -np.inf
    assert (np.diff(pieces.first) > 0).all()
    constant = pieces.rounding == CONSTANT
    repeated = constant[1:] & constant[:-1] & (pieces.add[1:] == pieces.add[:-1])
    assert not repeated.any()
    if kind == "relu":
        assert len(pieces.first) <= 6


@needs_vnni
def test_the_start_up_check_passes_and_would_notice_a_wrong_product(monkeypatch: pytest.MonkeyPatch) -> None:
    assert int8_products_are_exact()
    monkeypatch.setattr(selfcheck, "convolve", lambda layer, codes: convolve(layer, codes) ^ 1)
    assert not int8_products_are_exact.__wrapped__()


def test_float32_products_prove_exact_or_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tensors.product_type(CPU) is torch.float32
    exact = tensors._convolve
    monkeypatch.setattr(tensors, "_convolve", lambda *arguments: exact(*arguments) * 1.0000001)
    assert tensors.product_type.__wrapped__(CPU) is torch.float64


def test_buffers_are_used_again() -> None:
    arena = Arena()
    first = arena.take(2, 3, 4)
    address = first.ctypes.data
    arena.give(first)
    second = arena.take(23)
    assert second.ctypes.data == address
    assert arena.take(5).ctypes.data != address
