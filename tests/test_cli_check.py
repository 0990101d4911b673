"""`kpufit check` as a user runs it: exit codes, formats, speed, and complete answers on onnx's own networks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.kpu.check import check_network
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.read import load_onnx
from pipeline.network.user_file import read_user_file
from pipeline.network.zoo import build

MODELS = Path(__file__).parents[2] / "shared" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT_MODELS = (
    "bvlc_alexnet", "inception_v1", "shufflenet", "squeezenet", "densenet121", "vgg19", "zfnet512", "resnet50",
)  # fmt: skip


def convnet(path: Path, kernel: int) -> Path:
    """A convolution, a Clip and a classifier on 3×32×32."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(size=(16, 3, kernel, kernel)).astype(np.float32),
        "b": np.zeros(16, np.float32),
        "low": np.float32(0),
        "fc": random.normal(size=(10, 16)).astype(np.float32),
        "fb": np.zeros(10, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4),
        helper.make_node("Clip", ["c", "low"], ["r"], "act"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "fc", "fb"], ["y"], "classifier", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def check(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_clean_network(tmp_path: Path) -> None:
    path = convnet(tmp_path / "clean.onnx", 3)
    code, text = check(path, "--firmware", "maixpy-full", "--json")
    values = json.loads(text)
    assert code == 0
    assert values["fits"]
    assert [finding for finding in values["findings"] if finding["severity"] != "accuracy"] == []
    assert {layer["name"]: layer["unit"] for layer in values["layers"]}["conv"] == "kpu"
    assert values["predicted"]["kmodel_bytes"] > 16 * 27
    code, text = check(path, "--firmware", "all")
    assert code == 0
    assert "maixpy-full" in text


def test_what_the_kpu_cannot_run_is_exit_code_1(tmp_path: Path) -> None:
    code, text = check(convnet(tmp_path / "large.onnx", 5), "--json")
    found = [finding for finding in json.loads(text)["findings"] if finding["layer"] == "conv"]
    assert code == 1
    assert found[0]["rule"] == "kernel"
    assert found[0]["severity"] == "cpu"
    assert all(found[0][key] for key in ("seen", "limit", "why", "replacement"))


def test_over_a_budget_is_exit_code_1(tmp_path: Path) -> None:
    path = convnet(tmp_path / "clean.onnx", 3)
    code, text = check(path, "--firmware", "maixpy-full", "--model-bytes", "2000", "--json")
    assert code == 1
    assert not json.loads(text)["fits"]


def test_a_page_with_the_memory(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, _ = check(convnet(tmp_path / "clean.onnx", 3), "--html", page)
    assert code == 0
    assert "<svg" in page.read_text()


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"no network", "damaged.onnx"), (b"", "empty.onnx"), (b"no network", "other.pt"), (None, "absent.onnx")],
)
def test_bad_input_is_exit_code_2(content: bytes | None, name: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "check", tmp_path / name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "resnet8_cifar10_float.tflite",
        "resnet8_cifar10.h5",
        "vww96_mobilenetv1_025_float.tflite",
        "slim320_face.onnx",
    ],  # fmt: skip,
)
def test_formats(name: str) -> None:
    if not (MODELS / name).exists():
        pytest.skip(f"../shared/models/{name} is not here")
    checked = check_network(read_user_file(MODELS / name))
    assert checked.prediction.compiles
    assert sum(layer.unit == "kpu" for layer in checked.prediction.layers) > 5


@pytest.mark.parametrize("name", LIGHT_MODELS)
@pytest.mark.parametrize("raw", [False, True])
def test_the_findings_on_a_real_network_are_complete(name: str, raw: bool) -> None:
    path = LIGHT / f"light_{name}.onnx"
    checked = check_network(load_onnx(path, weights=False, stored=True, normal=not raw), raw=raw)
    explained = {finding.layer for finding in checked.findings}
    for layer in checked.prediction.layers:
        if layer.unit == "cpu" and layer.name not in checked.head:
            assert layer.name in explained, f"{layer.name} ({layer.op}) runs on the CPU without a reason"
    assert {refusal.layer for refusal in checked.prediction.refusals} <= explained
    if checked.prediction.kpu_bytes > 2 << 20:
        assert "kpu-memory" in {finding.rule for finding in checked.findings}
    for node in load_onnx(path, weights=False).graph.node:
        if node.op_type == "Conv":
            sides = next(tuple(a.ints) for a in node.attribute if a.name == "kernel_shape")
            assert sides in {(1, 1), (3, 3)} or raw or node.name in explained
    assert checked.findings


@pytest.mark.timeout(120)
def test_it_answers_at_once(tmp_path: Path) -> None:
    network = build("mobilenet_v1", (3, 224, 224), 1000, 24)
    path = tmp_path / "network.onnx"
    onnx.save(to_onnx(network, InputContract((3, 224, 224), (0.0,) * 3, (1.0,) * 3)), path)
    began = time.perf_counter()
    check_network(read_user_file(path))
    assert time.perf_counter() - began < 1
    whole = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "check", path, "--firmware", "maixpy-full"],
            capture_output=True,
            check=False,
        )
        whole.append(time.perf_counter() - began)
        assert done.returncode in {0, 1}
    assert min(whole) < 3
