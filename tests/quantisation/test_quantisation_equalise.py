"""Equalisation changes no output and mends channels that were scaled apart."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from quantisation_networks import CONTRACT, make, unbalance

from pipeline.errors import NetworkError
from pipeline.quantisation.channel_groups import find_groups
from pipeline.quantisation.equalise import channel_ranges, equalise

EQUALISED = ["plain", "residual", "mobile", "flattened"]


def run(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: NDArray[np.float32] = session.run(None, {"image": inputs})[0]
    return outputs


def largest_difference(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return float(np.abs(left - right).max() / max(1.0, np.abs(left).max()))


@pytest.mark.parametrize("name", [*EQUALISED, "assorted"])
def test_outputs_stay_the_same(name: str, images: NDArray[np.uint8]) -> None:
    model, inputs = make(name), CONTRACT.normalise(images)
    equalised, _ = equalise(model, inputs[:16])
    assert equalised.SerializeToString() != model.SerializeToString()
    assert largest_difference(run(model, inputs), run(equalised, inputs)) < 1e-5


@pytest.mark.parametrize("name", EQUALISED)
def test_channels_scaled_by_40_are_brought_back(name: str, images: NDArray[np.uint8]) -> None:
    inputs = CONTRACT.normalise(images)
    scaled = unbalance(make(name), 40.0)
    assert largest_difference(run(make(name), inputs), run(scaled, inputs)) < 1e-5
    healthy = [effect.spread_before for effect in equalise(make(name), inputs)[1]]
    mended, effects = equalise(scaled, inputs)
    assert largest_difference(run(scaled, inputs), run(mended, inputs)) < 1e-5
    assert max(effect.spread_before for effect in effects) > 20 * min(healthy)
    for before, effect in zip(healthy, effects, strict=True):
        assert effect.spread_after <= max(2 * before, 4.0)


@settings(deadline=None, max_examples=20)
@given(factors=st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=8), seed=st.integers(0, 5))
def test_the_result_does_not_depend_on_how_channels_were_scaled(factors: list[float], seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(4, 3, 12, 12)).astype(np.float32)
    model = make("residual", seed=seed)
    first, effects = equalise(model, inputs)
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    group = find_groups(model)[0]
    factor = np.asarray(factors, np.float32)
    weights = {tensor.name: tensor for tensor in scaled.graph.initializer}
    for index in (*group.writers, *group.readers):
        node = scaled.graph.node[index]
        for name in node.input[1:]:
            values = numpy_helper.to_array(weights[name])
            if index in group.writers:
                values = values * factor.reshape(-1, *[1] * (values.ndim - 1))
            if index in group.readers and values.ndim == 4:
                values = values / factor.reshape(1, -1, 1, 1)
            weights[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    second, rescaled = equalise(scaled, inputs)
    assert largest_difference(run(first, inputs), run(second, inputs)) < 1e-4
    for left, right in zip(effects, rescaled, strict=True):
        assert right.spread_after == pytest.approx(left.spread_after, rel=0.1)


def test_a_residual_sum_is_one_group() -> None:
    model = make("residual")
    kinds = [{model.graph.node[i].op_type for i in (*g.writers, *g.readers)} for g in find_groups(model)]
    sizes = sorted(len(group.writers) for group in find_groups(model))
    assert sizes[-1] == 2  # both branches of an Add share their factors
    assert {"Conv", "Gemm"} in kinds  # through the global pool and the flattening


@pytest.mark.parametrize(
    ("operator", "arguments", "free"),
    [
        ("Relu", (), True),
        ("Clip", ("zero",), True),
        ("Clip", ("zero", "six"), False),
        ("Clip", ("six",), False),
        ("Clip", (), False),
        ("LeakyRelu", (), True),
        ("Sigmoid", (), False),
        ("Elu", (), False),
        ("GlobalAveragePool", (), True),
        ("Add", ("six",), False),
        ("Mul", ("six",), False),
        ("Softmax", (), False),
    ],
)
def test_only_homogeneous_operators_carry_a_factor(operator: str, arguments: tuple[str, ...], free: bool) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], name="first"),
        helper.make_node(operator, ["a", *arguments], ["b"], name="between"),
        helper.make_node("Conv", ["b", "w2"], ["logits"], name="second"),
    ]
    weights = [
        numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w1"),
        numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w2"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(6), "six"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2, 4, 4]) for n in ("image", "logits")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], weights))
    assert bool(find_groups(model)) is free


def test_shared_weights_and_network_ends_keep_their_scale() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w"], ["logits"], name="second"),
    ]
    weights = [numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2, 4, 4]) for n in ("image", "logits")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], weights))
    assert find_groups(model) == []


def test_dead_channels_keep_the_factor_one(images: NDArray[np.uint8]) -> None:
    model, inputs = make("plain"), CONTRACT.normalise(images)
    first = next(tensor for tensor in model.graph.initializer if tensor.name == model.graph.node[0].input[1])
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == model.graph.node[0].input[2])
    for tensor in (first, bias):
        values = numpy_helper.to_array(tensor).copy()
        values[0] = 0
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    equalised, effects = equalise(model, inputs)
    assert all(np.isfinite(effect.spread_after) for effect in effects)
    assert largest_difference(run(model, inputs), run(equalised, inputs)) < 1e-5


def test_activations_that_overflow_are_refused_with_their_tensor(images: NDArray[np.uint8]) -> None:
    model = make("plain")
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e15), tensor.name))
    names = [name for group in find_groups(model) for name in group.tensors]
    with pytest.raises(NetworkError, match="not finite"):
        channel_ranges(model, names, CONTRACT.normalise(images))
