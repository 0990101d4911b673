"""``load_onnx(path, weights=False)``: every weight's shape, without its values; light models read at once."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_seeds import SEEDS

from pipeline.network.placeholders import is_placeholder
from pipeline.network.read import load_onnx

LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))
PARAMETERS = {"alexnet": 60_965_224, "resnet50": 25_610_152, "vgg19": 143_667_240, "squeezenet": 1_235_496}
"""Of the published networks (BatchNorm's mean and variance included)."""

READ = """
import resource, sys, time
from pathlib import Path
from pipeline.network.read import load_onnx
start = time.perf_counter()
load_onnx(Path(sys.argv[1]), weights=False)
print(time.perf_counter() - start, int(next(l for l in open("/proc/self/status") if "VmHWM" in l).split()[1]) // 1024)
"""


def test_onnx_brings_its_light_models():
    assert len(LIGHT) == 9


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models_cost_neither_time_nor_memory(path):
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    seconds, mib = done.stdout.split()
    assert float(seconds) < 3
    assert int(mib) < 200


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models_have_every_shape(path):
    model = load_onnx(path, weights=False)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    values = {value.name for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    for node in model.graph.node:
        assert node.op_type not in ("Constant", "ConstantOfShape", "Dropout", "Identity")
        assert all(name in weights or name in values for name in node.input if name)
        if node.op_type == "Conv":
            assert len(weights[node.input[1]].dims) == 4
    held = sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    for name, count in PARAMETERS.items():
        if name in path.stem:
            assert held == count


@pytest.mark.parametrize("name", SEEDS)
def test_all_but_large_weights_is_as_with_weights(tmp_path, name):
    path = tmp_path / "model.onnx"
    path.write_bytes(SEEDS[name]().SerializeToString())
    whole, shapes = load_onnx(path), load_onnx(path, weights=False)
    assert whole.graph.node == shapes.graph.node
    assert whole.graph.value_info == shapes.graph.value_info
    for with_values, without in zip(whole.graph.initializer, shapes.graph.initializer, strict=True):
        assert (with_values.name, with_values.dims) == (without.name, without.dims)
        assert is_placeholder(without) == (math.prod(without.dims) > 4096)
        if not is_placeholder(without):
            assert with_values == without


def test_what_is_computed_from_placeholders_is_one(tmp_path):
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("Mul", ["b", "scale"], ["w"]),
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.asarray([500, 768]), "shape"),
        numpy_helper.from_array(np.ones((768, 1), np.float32), "scale"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    model = load_onnx(path, weights=False)
    assert [node.op_type for node in model.graph.node] == ["Flatten", "MatMul"]
    assert [(t.name, list(t.dims), is_placeholder(t)) for t in model.graph.initializer] == [("w", [768, 500], True)]
