"""The real nncase: right numbers, the same bytes twice, and its simulator over many images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from pipeline.compiler.compile import Compiled, compile_network
from pipeline.compiler.simulate import nncase_simulate
from pipeline.errors import DataError, KmodelError, NetworkError, ToolError
from pipeline.network.contract import InputContract

pytestmark = pytest.mark.nncase

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def compiled(network: onnx.ModelProto, images: Images, contract: InputContract, nncase_python: Path) -> Compiled:
    return compile_network(network.SerializeToString(), "onnx", images, contract, nncase_python=nncase_python)


def test_the_kmodel_computes_what_onnxruntime_does(
    compiled: Compiled, network: onnx.ModelProto, images: Images, contract: InputContract, nncase_python: Path
) -> None:
    outputs = nncase_simulate(compiled.kmodel, images, nncase_python=nncase_python)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": contract.normalise(images)})
    assert outputs.dtype == np.float32
    assert outputs.shape == expected.shape
    cosine = (outputs * expected).sum() / np.linalg.norm(outputs) / np.linalg.norm(expected)
    assert cosine > 0.999


def test_compiling_again_gives_the_same_bytes(
    compiled: Compiled, network: onnx.ModelProto, images: Images, contract: InputContract, nncase_python: Path
) -> None:
    """Bits that nncase leaves uninitialised differ from run to run, about every second one of some dozens."""
    again = compile_network(network.SerializeToString(), "onnx", images, contract, nncase_python=nncase_python)
    assert again.kmodel == compiled.kmodel


def test_the_log_holds_what_the_compilers_cpp_code_prints(compiled: Compiled) -> None:
    assert "MEMORY USAGES" in compiled.log


def test_uint8_output_gives_the_codes_and_needs_no_heap(
    compiled: Compiled, network: onnx.ModelProto, images: Images, contract: InputContract, nncase_python: Path
) -> None:
    codes = compile_network(
        network.SerializeToString(), "onnx", images, contract, output_type="uint8", nncase_python=nncase_python
    )
    assert ".data\t   0.00 B\t(0 B)" in codes.log
    outputs = nncase_simulate(codes.kmodel, images, nncase_python=nncase_python)
    floats = nncase_simulate(compiled.kmodel, images, nncase_python=nncase_python)
    assert outputs.dtype == np.uint8
    scale, bias = np.polyfit(outputs.ravel().astype(float), floats.ravel(), 1)
    np.testing.assert_allclose(outputs * scale + bias, floats, atol=1e-4)


def test_the_split_over_processes_keeps_the_order(compiled: Compiled, images: Images, nncase_python: Path) -> None:
    together = nncase_simulate(compiled.kmodel, images, nncase_python=nncase_python, workers=2)
    apart = [
        nncase_simulate(compiled.kmodel, image[None], nncase_python=nncase_python) for image in images[[0, 11, 23]]
    ]
    np.testing.assert_array_equal(together[[0, 11, 23]], np.concatenate(apart))


def test_images_of_another_size_are_refused_by_the_worker(
    compiled: Compiled, images: Images, nncase_python: Path
) -> None:
    with pytest.raises(ToolError, match=r"takes uint8 \[1, 3, 16, 16\], not uint8 \[1, 3, 8, 16\]"):
        nncase_simulate(compiled.kmodel, images[:, :, ::2], nncase_python=nncase_python)


def test_a_truncated_kmodel_aborts_the_child_alone(compiled: Compiled, images: Images, nncase_python: Path) -> None:
    with pytest.raises(ToolError, match="SIGABRT") as caught:
        nncase_simulate(compiled.kmodel[:300], images, nncase_python=nncase_python, where="torn.kmodel")
    assert caught.value.where == "torn.kmodel"
    assert "inspect" in caught.value.remedy


@pytest.mark.parametrize("kmodel", [b"", b"\x03\0\0\0" * 40, b"LDMK\x04\0\0\0" * 40])
def test_other_versions_are_refused_before_any_child(kmodel: bytes, images: Images, tmp_path: Path) -> None:
    with pytest.raises(KmodelError, match="v5 only"):
        nncase_simulate(kmodel, images, nncase_python=tmp_path / "absent")


def test_no_images_are_refused(compiled: Compiled, images: Images, nncase_python: Path) -> None:
    with pytest.raises(DataError, match=r"uint8 \[0, 3, 16, 16\]"):
        nncase_simulate(compiled.kmodel, images[:0], nncase_python=nncase_python)


def test_what_nncase_refuses_comes_with_its_log_and_a_remedy(
    network: onnx.ModelProto, images: Images, contract: InputContract, nncase_python: Path
) -> None:
    refused = onnx.ModelProto()
    refused.CopyFrom(network)
    refused.graph.node[1].op_type = "Erf"
    del refused.graph.node[1].input[1:]
    with pytest.raises(
        ToolError, match="nncase failed: ValueError: Unsupported unary op for nnil: unary_erf"
    ) as caught:
        compile_network(refused.SerializeToString(), "onnx", images, contract, nncase_python=nncase_python)
    assert "kpufit: importing the onnx network" in caught.value.log
    assert "kpufit check" in caught.value.remedy


def test_too_large_feature_maps_name_the_kpus_memory(
    make_network: Callable[[int, int, int], onnx.ModelProto], nncase_python: Path
) -> None:
    network = make_network(128, 240, 320).SerializeToString()
    images = np.arange(3 * 240 * 320, dtype=np.uint8).reshape(1, 3, 240, 320)
    qvga = InputContract((3, 240, 320), (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(ToolError, match="Allocator has ran out of memory") as caught:
        compile_network(network, "onnx", images, qvga, nncase_python=nncase_python)
    assert "2 MiB" in caught.value.remedy


def test_channels_that_differ_have_no_input_range(network: onnx.ModelProto, images: Images, tmp_path: Path) -> None:
    coloured = InputContract((3, 16, 16), (0.4, 0.5, 0.6), (0.25,) * 3)
    with pytest.raises(NetworkError, match="differs from channel to channel"):
        compile_network(network.SerializeToString(), "onnx", images, coloured, nncase_python=tmp_path / "absent")
