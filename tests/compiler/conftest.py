"""Small networks and the environment of nncase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.compiler.environment import find_nncase
from pipeline.network.contract import InputContract

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def nncase_python() -> Path:
    """The real environment; its absence is a failure, since `make setup` makes it."""
    return find_nncase(ROOT)


@pytest.fixture(scope="session")
def contract() -> InputContract:
    return InputContract((3, 16, 16), (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """Smooth pictures, 24×3×16×16: noise would say nothing about ranges."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (24, 3, 4, 4), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 4, axis=2), 4, axis=3)


@pytest.fixture(scope="session")
def network() -> onnx.ModelProto:
    return build_network(8, 16, 16)


@pytest.fixture(scope="session")
def make_network() -> Callable[[int, int, int], onnx.ModelProto]:
    return build_network


def build_network(width: int, height: int, breadth: int) -> onnx.ModelProto:
    """conv 3×3 → clip → max-pool → conv 3×3 → clip → conv 1×1, all for the KPU; N dynamic, as every stage writes it."""
    random = np.random.default_rng(1)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values = random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape) if len(shape) == 4 else np.zeros(shape)
        return numpy_helper.from_array(values.astype(np.float32), name)

    tensors = [
        weights("w1", width, 3, 3, 3),
        weights("b1", width),
        weights("w2", 16, width, 3, 3),
        weights("b2", 16),
        weights("w3", 10, 16, 1, 1),
        weights("b3", 10),
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(6), "high"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Clip", ["c1", "low", "high"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Clip", ["c2", "low", "high"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["logits"], kernel_shape=[1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, height, breadth])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10, height // 2, breadth // 2])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
