"""Networks that nncase would crash on, or quantise without a word, are refused before it sees them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from tflite_files import WEIGHTS, tflite

from pipeline.compiler.compile import compile_network
from pipeline.compiler.simulate import nncase_simulate
from pipeline.compiler.source import checked_onnx, checked_tflite
from pipeline.errors import DataError, NetworkError, SetupError
from pipeline.network.contract import InputContract

Images = NDArray[np.uint8]
IMAGE = (3, 16, 16)


@pytest.mark.nncase
def test_tflite_compiles_to_the_right_numbers_and_the_same_bytes(
    images: Images, contract: InputContract, nncase_python: Path
) -> None:
    """SAME padding, NHWC inside, N×C×H×W outside, without a Transpose."""
    first, second = (
        compile_network(tflite(), "tflite", images, contract, nncase_python=nncase_python) for _ in range(2)
    )
    assert first.kmodel == second.kmodel
    outputs = nncase_simulate(first.kmodel, images, nncase_python=nncase_python)
    filters = torch.from_numpy(WEIGHTS.transpose(0, 3, 1, 2).copy())
    expected = torch.nn.functional.conv2d(torch.from_numpy(contract.normalise(images)), filters, padding=1).numpy()
    assert outputs.shape == expected.shape
    cosine = (outputs * expected).sum() / np.linalg.norm(outputs) / np.linalg.norm(expected)
    assert cosine > 0.999


def test_a_good_tflite_passes_unchanged() -> None:
    assert checked_tflite(tflite(), IMAGE) == tflite()


@pytest.mark.parametrize("network", [b"", b"garbage" * 99, b"\x1c\0\0\0TFL3", tflite()[: len(tflite()) // 2]])
def test_what_is_no_whole_tflite_is_refused(network: bytes) -> None:
    with pytest.raises(NetworkError, match=r"net\.tflite: is (not a TFLite file|damaged)"):
        checked_tflite(network, IMAGE, where="net.tflite")


@given(st.integers(0, len(tflite()) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_a_typed_error_or_a_network(position: int, value: int) -> None:
    network = bytearray(tflite())
    network[position] = value
    with contextlib.suppress(NetworkError):
        assert checked_tflite(bytes(network), IMAGE) == network


def test_a_quantised_tflite_is_refused() -> None:
    with pytest.raises(NetworkError, match="quantised already") as caught:
        checked_tflite(tflite(input_type=schema.TensorType.INT8), IMAGE)
    assert "float network" in caught.value.remedy


def test_the_real_quantised_tflite_is_refused_and_the_float_one_taken(shared: Path) -> None:
    files = shared / "models"
    with pytest.raises(NetworkError, match="quantised already"):
        checked_tflite((files / "resnet8_cifar10_int8.tflite").read_bytes(), (3, 32, 32))
    taken = (files / "resnet8_cifar10_float.tflite").read_bytes()
    assert checked_tflite(taken, (3, 32, 32)) == taken


def test_a_tflite_with_another_input_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"its input is \[1, 16, 16, 3\], not \[1, 16, 32, 3\]"):
        checked_tflite(tflite(), (3, 16, 32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(network: onnx.ModelProto, value: float) -> None:
    weights = WEIGHTS.copy()
    weights[1, 2, 0, 1] = value
    with pytest.raises(NetworkError, match="tensor weights holds NaN"):
        checked_tflite(tflite(weights), IMAGE)
    broken = onnx.ModelProto()
    broken.CopyFrom(network)
    tensor = next(tensor for tensor in broken.graph.initializer if tensor.name == "w2")
    values = numpy_helper.to_array(tensor).copy()
    values.flat[3] = value
    tensor.CopyFrom(numpy_helper.from_array(values, "w2"))
    with pytest.raises(NetworkError, match="tensor w2 holds NaN"):
        checked_onnx(broken.SerializeToString(), IMAGE)


def test_onnx_leaves_with_one_image_and_every_shape(network: onnx.ModelProto) -> None:
    ready = onnx.load_model_from_string(checked_onnx(network.SerializeToString(), IMAGE))
    assert [dim.dim_value for dim in ready.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 16, 16]
    shapes = {value.name for value in ready.graph.value_info}
    assert shapes == {"c1", "r1", "p1", "c2", "r2"}
    assert network.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated"])
def test_what_is_no_whole_onnx_is_refused(network: onnx.ModelProto, damage: str) -> None:
    whole = network.SerializeToString()
    broken = {"empty": b"", "garbage": b"garbage" * 99, "truncated": whole[: len(whole) // 2]}[damage]
    with pytest.raises(NetworkError, match=r"net\.onnx: is empty, damaged or no ONNX file"):
        checked_onnx(broken, IMAGE, where="net.onnx")


def test_an_onnx_with_another_input_is_refused(network: onnx.ModelProto) -> None:
    with pytest.raises(NetworkError, match=r"its input is \['N', 3, 16, 16\], not \['N', 1, 16, 16\]"):
        checked_onnx(network.SerializeToString(), (1, 16, 16))


@pytest.mark.parametrize(
    "calibration", [np.zeros((0, 3, 16, 16), np.uint8), np.zeros((4, 3, 16, 8), np.uint8), np.zeros((4, 3, 16, 16))]
)
def test_calibration_of_another_size_is_refused_before_any_child(
    network: onnx.ModelProto, calibration: Images, contract: InputContract, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="calibration images are"):
        compile_network(network.SerializeToString(), "onnx", calibration, contract, nncase_python=tmp_path / "absent")


def test_a_missing_environment_asks_for_setup(
    network: onnx.ModelProto, images: Images, contract: InputContract, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="does not start") as caught:
        compile_network(network.SerializeToString(), "onnx", images, contract, nncase_python=tmp_path / "absent")
    assert "make setup" in caught.value.remedy
