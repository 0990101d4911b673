"""What nncase 1.9 itself writes, on networks that take the CPU operators the golden files do not have."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import KmodelError
from pipeline.kmodel.canonical import canonical_v5
from pipeline.kmodel.check import check_dataflow
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kmodel.steps import Unknown
from pipeline.kmodel.transcode import Head, transcode

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-nncase" / "bin" / "python"


class Net:
    """Builds a small ONNX network, node by node."""

    def __init__(self, channels: int, size: int) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.values: list[onnx.TensorProto] = []
        self.shape = (1, channels, size, size)
        self.weights: dict[str, np.ndarray] = {}

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.values)}"
        self.values.append(numpy_helper.from_array(value.astype("f4"), name))
        self.weights[name] = value.astype("f4")
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, *, relu: bool = True) -> str:
        weight = self.constant(self.rng.normal(size=(outputs, inputs, kernel, kernel)) / (kernel * inputs**0.5))
        bias = self.constant(self.rng.normal(size=outputs) * 0.1)
        pads = [kernel // 2] * 4
        y = self.add("Conv", x, weight, bias, pads=pads, strides=[stride] * 2, kernel_shape=[kernel] * 2)
        return self.add("Clip", y, self.constant(np.array(0.0))) if relu else y

    def model(self, *outputs: str) -> onnx.ModelProto:
        given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", given, ends, self.values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


@pytest.fixture
def compile_twice(tmp_path: Path) -> Callable[[Net, str, str], tuple[bytes, bytes]]:
    """Compile a network twice with nncase."""
    assert PYTHON.exists(), f"nncase's environment is missing ({PYTHON}); run `make setup`"

    def run(net: Net, output: str, output_type: str) -> tuple[bytes, bytes]:
        onnx.save(net.model(output), tmp_path / "net.onnx")
        images = net.rng.integers(0, 256, (4, *net.shape[1:]), dtype=np.uint8)
        np.save(tmp_path / "images.npy", images)
        outs = [tmp_path / "a.kmodel", tmp_path / "b.kmodel"]
        script = Path(__file__).with_name("nncase_compile.py")
        command = [str(PYTHON), str(script), "net.onnx", "images.npy", output_type, *map(str, outs)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return outs[0].read_bytes(), outs[1].read_bytes()

    return run


Compile = Callable[[Net, str, str], tuple[bytes, bytes]]


def model_of(files: tuple[bytes, bytes]) -> Kmodel:
    """Check what holds of every compiled file, and return its model."""
    first, second = files
    assert canonical_v5(first) == canonical_v5(second)
    assert read(canonical_v5(first)).convolutions[0].weights == read(first).convolutions[0].weights
    model = read(first)
    assert model.sizes.total == len(first)
    assert not any(isinstance(step, Unknown) for step in model.steps)
    return model


@pytest.mark.nncase
def test_residual_with_a_classifier(compile_twice: Compile) -> None:
    net = Net(3, 16)
    x = net.conv("x", 3, 16, 3)
    y = net.conv(net.conv(x, 16, 16, 3), 16, 16, 3, relu=False)
    z = net.add(
        "Flatten", net.add("GlobalAveragePool", net.add("Clip", net.add("Add", x, y), net.constant(np.array(0.0))))
    )
    weight, bias = net.rng.normal(size=(10, 16)), net.rng.normal(size=10)
    logits = net.add("Gemm", z, net.constant(weight), net.constant(bias), transB=1)
    model = model_of(compile_twice(net, logits, "float32"))
    whole = transcode(model, 4)
    check_dataflow(whole)
    head = Head(weight.astype("f4"), bias.astype("f4"))
    for to in (4, 3):
        with_head = transcode(model, to, head=head)
        assert len(with_head.convolutions) == 4  # three, and the one that adds
        assert with_head.main_bytes <= whole.main_bytes
        assert with_head.outputs[0].shape == (1, 10)


@pytest.mark.nncase
def test_concat_becomes_neighbouring_buffers(compile_twice: Compile) -> None:
    net = Net(3, 16)
    x = net.conv("x", 3, 16, 3)
    joined = net.add("Concat", net.conv(x, 16, 8, 3), net.conv(x, 16, 8, 1), axis=1)
    model = model_of(compile_twice(net, net.conv(joined, 16, 8, 1), "uint8"))
    for to in (4, 3):
        assert len(transcode(model, to).convolutions) == 4


@pytest.mark.nncase
def test_resize_is_carried_to_v4_alone(compile_twice: Compile) -> None:
    net = Net(3, 16)
    x = net.add("MaxPool", net.conv("x", 3, 16, 3), kernel_shape=[2, 2], strides=[2, 2])
    scales = net.constant(np.array([1, 1, 2, 2]))
    x = net.add(
        "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    model = model_of(compile_twice(net, net.conv(x, 16, 8, 3), "uint8"))
    assert any(type(step).__name__ == "Resize" for step in transcode(model, 4).steps)
    with pytest.raises(KmodelError, match="not carried over to kmodel v3"):
        transcode(model, 3)


@pytest.mark.nncase
def test_a_5x5_convolution_on_the_cpu_is_refused(compile_twice: Compile) -> None:
    net = Net(3, 16)
    x = net.conv(net.conv("x", 3, 16, 3), 16, 8, 5)
    model = model_of(compile_twice(net, net.conv(x, 8, 8, 3), "uint8"))
    assert model.has_cpu_convolution
    with pytest.raises(KmodelError, match="Conv2d") as refused:
        transcode(model, 4)
    assert "kpufit replace" in refused.value.remedy
