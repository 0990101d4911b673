"""Networks of other tools: the same logits as there, or refused with file and remedy."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from pipeline.errors import KpufitError, NetworkError, ToolError
from pipeline.network.contract import InputContract
from pipeline.network.importers import child, import_network
from pipeline.network.importers.job import Job
from pipeline.network.importers.logits import as_logits
from pipeline.network.importers.tensorflow_side import short_name
from pipeline.network.importers.torch_side import export, read_weights
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.recipe import KerasModel, OnnxModel, TfliteModel, TorchModel

IMAGE = (3, 16, 16)
HERE = Path(__file__).parent


def outputs(model: onnx.ModelProto, images: np.ndarray, run_onnx) -> np.ndarray:
    """The logits of an import, through ONNX and, the same, through PyTorch and our own ONNX."""
    logits = run_onnx(model, images)[0]
    lifted = to_torch(model)
    channels = images.shape[1]
    written = to_onnx(lifted, InputContract(images.shape[1:], (0.0,) * channels, (1.0,) * channels))
    np.testing.assert_allclose(lifted(torch.from_numpy(images)).detach(), logits, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(run_onnx(written, images)[0], logits, rtol=1e-3, atol=1e-3)
    return logits


# --- the end of a classifier -----------------------------------------------------------------------------------------


def ending(*nodes, classes=5, shape=("N", 4, 1, 1)) -> onnx.ModelProto:
    """A 1×1 convolution to ``classes`` channels, then ``nodes`` from "c" to "y"."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.random.default_rng(0).random((classes, 4, 1, 1), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_taken_off(operator, run_onnx):
    flatten = helper.make_node("Flatten", ["c"], ["f"])
    model = ending(flatten, helper.make_node(operator, ["f"], ["y"], axis=1))
    before = model.SerializeToString()
    logits = as_logits(model, 5)
    assert model.SerializeToString() == before
    images = np.random.default_rng(1).random((3, 4, 1, 1), np.float32)
    weights = numpy_helper.to_array(model.graph.initializer[0])[:, :, 0, 0]
    np.testing.assert_allclose(run_onnx(logits, images)[0], images[:, :, 0, 0] @ weights.T, rtol=1e-5)


def test_a_softmax_that_something_else_reads_stays():
    nodes = [helper.make_node("Flatten", ["c"], ["f"]), helper.make_node("Softmax", ["f"], ["s"])]
    model = as_logits(ending(*nodes, helper.make_node("Add", ["s", "f"], ["y"])), 5)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Flatten", "Softmax", "Add"]


def test_a_map_of_one_pixel_is_flattened(run_onnx):
    model = as_logits(ending(helper.make_node("Relu", ["c"], ["y"])), 5)
    assert run_onnx(model, np.ones((2, 4, 1, 1), np.float32))[0].shape == (2, 5)


@pytest.mark.parametrize(("classes", "shape"), [(10, ("N", 4, 1, 1)), (5, ("N", 4, 2, 2))])
def test_another_number_of_classes(classes, shape):
    with pytest.raises(NetworkError, match=f"the recipe has {classes} labels") as caught:
        as_logits(ending(helper.make_node("Relu", ["c"], ["y"]), shape=shape), classes, where="a.onnx")
    assert caught.value.where == "a.onnx"


# --- ONNX ------------------------------------------------------------------------------------------------------------


def test_onnx(tmp_path, run_onnx):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Softmax(1))
    model = to_onnx(network.eval(), InputContract(IMAGE, (0.5,) * 3, (0.5,) * 3))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    source = OnnxModel(source="onnx", path="net.onnx")
    images = np.random.default_rng(0).standard_normal((2, *IMAGE)).astype(np.float32)
    expected = network[:4](torch.from_numpy(images)).detach()
    np.testing.assert_allclose(
        outputs(import_network(source, IMAGE, 5, tmp_path), images, run_onnx), expected, atol=1e-5
    )
    with pytest.raises(NetworkError, match=r"takes images of 3 × 16 × 16 .* the recipe gives 1 × 28 × 28"):
        import_network(source, (1, 28, 28), 5, tmp_path)
    with pytest.raises(NetworkError, match="cannot be read"):
        import_network(OnnxModel(source="onnx", path="none.onnx"), IMAGE, 5, tmp_path)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def test_torch_code_is_not_run_unasked(tmp_path):
    source = TorchModel(source="torch", factory="mine:make", weights="w.pt")
    (tmp_path / "mine.py").write_text("raise SystemExit('was run')")
    with pytest.raises(NetworkError, match="not run unasked") as caught:
        import_network(source, IMAGE, 5, tmp_path)
    assert "--trust" in caught.value.remedy


def test_torch_with_the_shortcut_that_is_sliced_and_padded(tmp_path, run_onnx):
    """The user's own file, found from the project's folder; weights as DataParallel and a training script save them."""
    (tmp_path / "resnet_option_a.py").write_text((HERE / "resnet_option_a.py").read_text())
    spec = importlib.util.spec_from_file_location("resnet_option_a", HERE / "resnet_option_a.py")
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    torch.manual_seed(0)
    network = own.resnet20()
    network.train()(torch.randn(8, 3, 32, 32))
    network.eval()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "net.th")
    source = TorchModel(source="torch", factory="resnet_option_a:resnet20", weights="net.th")
    model = import_network(source, (3, 32, 32), 10, tmp_path, trust=True)
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 19
    images = torch.randn(2, 3, 32, 32)
    np.testing.assert_allclose(outputs(model, images.numpy(), run_onnx), network(images).detach(), atol=1e-4)


def write_factory(folder: Path, body: str) -> None:
    (folder / "mine.py").write_text(f"import torch\nfrom torch import nn\ndef make():\n    {body}\n")
    torch.save({"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(2)}, folder / "w.pt")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("raise RuntimeError('no such thing')", "cannot be called .RuntimeError: no such thing"),
        ("return 3", "gives a int, not an nn.Module"),
        ("return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))", "lacks 1.weight, 1.bias"),
        ("return nn.Sequential(nn.Linear(3, 2, bias=False))", "has beyond the network 0.bias"),
        ("return nn.Sequential(nn.Linear(3, 7))", "has in another size 0.weight, 0.bias"),
        ("return nn.Sequential(nn.Linear(3, 2))", "cannot be exported for an image of 3 × 16 × 16"),
    ],
)
def test_torch_mistakes_are_explained(tmp_path, monkeypatch, body, match):
    write_factory(tmp_path, body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(NetworkError, match=match):
        export(Job("torch", str(tmp_path / "w.pt"), IMAGE, factory="mine:make"), tmp_path / "network.onnx")


def test_a_typed_error_comes_back_from_the_child(tmp_path):
    write_factory(tmp_path, "return 3")
    with pytest.raises(NetworkError, match="gives a int") as caught:
        child.from_torch("mine:make", tmp_path / "w.pt", IMAGE, tmp_path)
    assert caught.value.where == "mine:make"


@pytest.mark.parametrize(("code", "match"), [("import os; os.kill(os.getpid(), 11)", "SIGSEGV"), ("exit(3)", "failed")])
def test_a_child_that_dies(tmp_path, code, match):
    write_factory(tmp_path, code)
    with pytest.raises(ToolError, match=match):
        child.from_torch("mine:make", tmp_path / "w.pt", IMAGE, tmp_path)


def test_a_child_that_hangs(tmp_path):
    write_factory(tmp_path, "import time; time.sleep(1000)")
    with pytest.raises(ToolError, match="more than 4 s"):
        child.from_torch("mine:make", tmp_path / "w.pt", IMAGE, tmp_path, timeout_s=4)


def test_weights_from_every_kind_of_file(tmp_path):
    state = {"a.weight": torch.arange(4.0), "b": torch.ones(2)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    torch.save(
        {"model_state_dict": {f"module.{name}": v for name, v in state.items()}, "lr": 0.1}, tmp_path / "nested.pt"
    )
    torch.save({f"_orig_mod.{name}": value for name, value in state.items()}, tmp_path / "compiled.pt")
    for name in ("w.safetensors", "plain.pt", "nested.pt", "compiled.pt"):
        found = read_weights(tmp_path / name)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)


def test_weights_that_are_code_or_damaged(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(NetworkError, match="Python objects, not weights alone"):
        read_weights(tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(NetworkError, match="holds no state dict"):
        read_weights(tmp_path / "list.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\x00\x00")
    (tmp_path / "torn.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:200])
    for name in ("torn.safetensors", "torn.pt", "none.pt"):
        with pytest.raises(NetworkError, match=name.split(".")[0]):
            read_weights(tmp_path / name)


def test_the_published_resnet20(shared, tmp_path, run_onnx):
    weights = shared / "models" / "resnet20_cifar10.th"
    if not weights.is_file():
        pytest.skip(f"{weights} absent")
    source = TorchModel(source="torch", factory="resnet_option_a:resnet20", weights=str(weights))
    model = import_network(source, (3, 32, 32), 10, HERE, trust=True)
    logits = outputs(model, np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32), run_onnx)
    assert logits.shape == (4, 10)
    stored = read_weights(weights)
    read = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(read["layer3.2.bn2.running_mean"], stored["layer3.2.bn2.running_mean"])


# --- TFLite and Keras ------------------------------------------------------------------------------------------------


def reference(file: Path, images: np.ndarray, tmp_path: Path) -> np.ndarray:
    """TensorFlow's own output for ``images`` N×C×H×W, in a process of its own."""
    np.save(tmp_path / "images.npy", images.transpose(0, 2, 3, 1))
    code = f"""
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np, tensorflow as tf
images = np.load({str(tmp_path / "images.npy")!r})
if {file.suffix!r} == ".tflite":
    net = tf.lite.Interpreter({str(file)!r})
    net.allocate_tensors()
    found = []
    for image in images:
        net.set_tensor(net.get_input_details()[0]["index"], image[None])
        net.invoke()
        found.append(net.get_tensor(net.get_output_details()[0]["index"])[0])
else:
    import tf_keras
    found = tf_keras.models.load_model({str(file)!r}, compile=False).predict(images, verbose=0)
np.save({str(tmp_path / "outputs.npy")!r}, np.asarray(found))
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return np.load(tmp_path / "outputs.npy")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "image", "classes", "scale"),
    [
        ("resnet8_cifar10_float.tflite", (3, 32, 32), 10, 255),
        pytest.param("vww96_mobilenetv1_025_float.tflite", (3, 96, 96), 2, 1, marks=pytest.mark.bench),
        pytest.param("resnet8_cifar10.h5", (3, 32, 32), 10, 255, marks=pytest.mark.bench),
    ],
)
def test_published_networks_equal_tensorflows_outputs(shared, tmp_path, name, image, classes, scale, run_onnx):
    file = shared / "models" / name
    if not file.is_file():
        pytest.skip(f"{file} absent")
    kind = TfliteModel if file.suffix == ".tflite" else KerasModel
    source = kind(source="tflite" if kind is TfliteModel else "keras", path=name)
    model = import_network(source, image, classes, file.parent)
    images = (np.random.default_rng(0).random((4, *image)) * scale).astype(np.float32)
    logits = outputs(model, images, run_onnx)
    np.testing.assert_allclose(softmax(logits), reference(file, images, tmp_path), atol=1e-4)
    assert not {"Transpose", "Softmax"} & {node.op_type for node in model.graph.node}
    assert all(";" not in node.name for node in model.graph.node)


@pytest.mark.bench
def test_a_quantised_tflite_is_refused(shared):
    file = shared / "models" / "resnet8_cifar10_int8.tflite"
    if not file.is_file():
        pytest.skip(f"{file} absent")
    with pytest.raises(NetworkError, match="is quantised") as caught:
        import_network(TfliteModel(source="tflite", path=file.name), (3, 32, 32), 10, file.parent)
    assert "float" in caught.value.remedy


KERAS_3 = """
import os
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, numpy as np
from keras import layers
keras.utils.set_random_seed(0)
inputs = keras.Input((16, 16, 3))
x = layers.Rescaling(1 / 255)(inputs)
x = layers.Conv2D(8, 3, padding="same", use_bias=False, strides=2)(x)
x = layers.BatchNormalization()(x)
x = layers.ReLU(6.0)(x)
x = layers.DepthwiseConv2D(3, padding="same")(x)
x = layers.Activation("swish")(x)
x = layers.MaxPooling2D()(x)
x = layers.Flatten()(x)
net = keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Dropout(0.4)(x)))
net.save("net.keras")
images = np.random.default_rng(0).random((3, 16, 16, 3)).astype("float32") * 255
np.save("images.npy", images)
np.save("outputs.npy", net.predict(images, verbose=0))
"""


@pytest.mark.bench
def test_keras_3(tmp_path, run_onnx):
    subprocess.run([sys.executable, "-c", KERAS_3], check=True, capture_output=True, cwd=tmp_path)
    model = import_network(KerasModel(source="keras", path="net.keras"), IMAGE, 5, tmp_path)
    images = np.ascontiguousarray(np.load(tmp_path / "images.npy").transpose(0, 3, 1, 2))
    logits = outputs(model, images, run_onnx)
    np.testing.assert_allclose(softmax(logits), np.load(tmp_path / "outputs.npy"), atol=1e-4)
    with pytest.raises(NetworkError, match="takes images of 16 × 16 × 3"):
        import_network(KerasModel(source="keras", path="net.keras"), (1, 28, 28), 5, tmp_path)


def keras_file(path: Path, layer: dict) -> None:
    config = {"class_name": "Functional", "module": "keras", "config": {"name": "net", "layers": [layer]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", json.dumps(config))


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        ({"class_name": "Lambda", "config": {"name": "twice"}}, "Python code"),
        ({"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {}}}}, "Python code"),
        ({"class_name": "system", "module": "os", "config": {"name": "x"}}, "package os"),
    ],
)
def test_code_in_a_keras_file_is_refused_before_it_is_loaded(tmp_path, layer, match):
    keras_file(tmp_path / "net.keras", layer)
    with pytest.raises(NetworkError, match=match):
        import_network(KerasModel(source="keras", path="net.keras"), IMAGE, 5, tmp_path)


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.tflite"])
def test_missing_empty_and_damaged_files(tmp_path, name):
    kind = {"tflite": TfliteModel}.get(name.split(".")[1], KerasModel)
    source = kind(source="tflite" if kind is TfliteModel else "keras", path=name)
    with pytest.raises(NetworkError, match="does not exist"):
        import_network(source, IMAGE, 5, tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(NetworkError, match="is empty"):
        import_network(source, IMAGE, 5, tmp_path)
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(3000))
    with pytest.raises(KpufitError, match=r"damaged") as caught:
        import_network(source, IMAGE, 5, tmp_path)
    assert str(tmp_path / name) in caught.value.where


@pytest.mark.parametrize(
    ("name", "operator", "expected"),
    [
        ("model/conv2d/Conv2D", "Conv", "model/conv2d/Conv2D"),
        ("m/relu/Relu;m/bn/FusedBatchNormV3;m/conv2d_3/BiasAdd;m/conv2d_9/Conv2D", "Conv", "m/conv2d_3"),
        ("m/dense/MatMul;m/dense/BiasAdd", "MatMul", "m/dense"),
        ("a/b;c/d", "AveragePool", "a/b"),
    ],
)
def test_names_of_fused_tflite_layers(name, operator, expected):
    assert short_name(name, operator) == expected
