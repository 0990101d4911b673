"""Files that strangers bring: refused with file, layer and remedy, or read with the same outputs."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pipeline.errors import NetworkError
from pipeline.network import zoo
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.normal import normal_form
from pipeline.network.read import load_onnx

IMAGE = (3, 16, 16)


def small() -> onnx.ModelProto:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    return to_onnx(network.eval(), InputContract(IMAGE, (0.5,) * 3, (0.5,) * 3))


def graph_model(nodes, weights=(), *, opset=13, inputs=None, outputs=("y",), ir=8) -> onnx.ModelProto:
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *IMAGE])]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def saved(tmp_path, model):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


# --- refused ---------------------------------------------------------------------------------------------------------


def refused(path, match):
    with pytest.raises(NetworkError, match=match) as caught:
        load_onnx(path)
    assert str(path) in caught.value.where
    assert caught.value.remedy
    assert "\n" not in caught.value.what
    return caught.value


def test_missing(tmp_path):
    refused(tmp_path / "none.onnx", "cannot be read")


def test_a_folder(tmp_path):
    refused(tmp_path, "cannot be read")


def test_empty(tmp_path):
    path = tmp_path / "empty.onnx"
    path.touch()
    refused(path, "is empty")


def test_garbage(tmp_path):
    path = tmp_path / "garbage.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    refused(path, "not an ONNX file")


def test_every_truncation_is_refused(tmp_path):
    content = small().SerializeToString()
    path = tmp_path / "torn.onnx"
    for length in [1, 10, *range(100, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(NetworkError):
            load_onnx(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutations_give_a_network_or_a_typed_error(tmp_path, data):
    content = bytearray(small().SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.onnx"
    path.write_bytes(bytes(content))
    with contextlib.suppress(NetworkError):
        to_torch(load_onnx(path))


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_weights_that_are_no_numbers(tmp_path, value, word):
    model = small()
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight.flat[5:8] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[0].name))
    error = refused(saved(tmp_path, model), rf"'layer_0.weight' holds 3 {word} of 108 numbers")
    assert error.where.endswith("model.onnx: layer_0")


def test_infinite_bounds_are_meant(tmp_path):
    bound = {"least": np.float32(-np.inf), "most": np.float32(1)}
    path = saved(tmp_path, graph_model([helper.make_node("Clip", ["x", "least", "most"], ["y"])], bound))
    assert to_torch(load_onnx(path)).Clip_0.max_val == 1.0


def external(tmp_path, location):
    model = small()
    model.graph.initializer[0].raw_data = b""
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value=location)
    return saved(tmp_path, model)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", ""])
def test_external_data_outside_the_folder(tmp_path, location):
    refused(external(tmp_path, location), "outside the model's folder")


def test_external_data_behind_a_link(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(432))
    (tmp_path / "sub" / "link.bin").symlink_to(tmp_path / "secret.bin")
    refused(external(tmp_path / "sub", "link.bin"), "outside the model's folder")


def test_external_data_missing_or_short(tmp_path):
    path = external(tmp_path, "weights.bin")
    refused(path, "which is missing")
    (tmp_path / "weights.bin").write_bytes(bytes(5))
    refused(path, "weight|valid")


def test_external_data_beside_the_model(tmp_path):
    model = small()
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert load_onnx(tmp_path / "model.onnx").graph.initializer[0].raw_data == small().graph.initializer[0].raw_data


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ([value("x", 1, ["N", *IMAGE]), value("z", 1, ["N", *IMAGE])], r"2 inputs \(x, z\)"),
        ([value("x", 1, ["N", 3, "H", "W"])], "N × 3 × H × W"),
        ([value("x", 1, None)], "has shape unknown"),
        ([value("x", 1, ["N", 3, 16])], "instead of N × channels"),
        ([value("x", TensorProto.UINT8, ["N", *IMAGE])], "uint8 instead of float32"),
        ([value("x", TensorProto.FLOAT16, ["N", *IMAGE])], "float16 instead of float32"),
    ],
)
def test_inputs_that_are_not_one_image(tmp_path, inputs, match):
    refused(saved(tmp_path, graph_model([helper.make_node("Identity", ["x"], ["y"])], inputs=inputs)), match)


def test_shapes_that_contradict_each_other(tmp_path):
    node = helper.make_node("Add", ["x", "w"], ["y"])
    refused(saved(tmp_path, graph_model([node], {"w": np.zeros(7, np.float32)})), "contradict")


@pytest.mark.parametrize(
    ("operator", "shape", "match"),
    [
        ("Conv", (4, 7, 3, 3), "for 7 channels, its input has 3"),
        ("ConvTranspose", (7, 4, 3, 3), "for 7 channels, its input has 3"),
        ("Conv", (4, 3, 3), "kernel_shape has incorrect size"),
    ],
)
def test_weights_that_do_not_fit_are_named_with_the_layer(tmp_path, operator, shape, match):
    model = graph_model([helper.make_node(operator, ["x", "w"], ["y"], name="odd")], {"w": np.zeros(shape, np.float32)})
    with pytest.raises(NetworkError, match=match) as caught:
        to_torch(load_onnx(saved(tmp_path, model)), where="model.onnx")
    assert caught.value.where.endswith("model.onnx: odd")


def test_operators_of_a_vendor(tmp_path):
    model = graph_model(
        [helper.make_node("FusedConv", ["x", "w"], ["y"], name="f", domain="com.microsoft")], {"w": np.zeros(3)}
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "f" in refused(saved(tmp_path, model), "FusedConv of com.microsoft").where


def test_an_opset_form_that_13_lacks(tmp_path):
    pool = helper.make_node("Resize", ["x", "", "s"], ["y"], name="up", mode="linear", antialias=1)
    model = graph_model([pool], {"s": np.asarray([1, 1, 0.5, 0.5], np.float32)}, opset=18)
    assert refused(saved(tmp_path, model), "Resize of opset 18").where.endswith("up")


def test_an_old_opset(tmp_path):
    refused(saved(tmp_path, graph_model([helper.make_node("Relu", ["x"], ["y"])], opset=3, ir=3)), "opset 3 is too old")


# --- brought into normal form ----------------------------------------------------------------------------------------


def check(tmp_path, model, run_onnx, image=IMAGE, given=None):
    """Read ``model``; its outputs stay the same, for one image and for five."""
    path = saved(tmp_path, model)
    read = load_onnx(path)
    onnx.checker.check_model(read, full_check=True)
    assert [(entry.domain, entry.version) for entry in read.opset_import] == [("", 13)]
    assert read.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    images = np.random.default_rng(0).standard_normal((5, *image)).astype(np.float32)
    fed = images if given is None else given(images)
    each = [run_onnx(model, fed[index : index + 1]) for index in range(5)]
    expected = [np.concatenate(parts) for parts in zip(*each, strict=True)]
    lifted = to_torch(read)(torch.from_numpy(images))
    outputs = lifted if isinstance(lifted, tuple) else (lifted,)
    for wanted, written, torched in zip(expected, run_onnx(read, images), outputs, strict=True):
        np.testing.assert_allclose(written, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(torched.detach(), wanted, rtol=1e-4, atol=1e-5)
    assert normal_form(read).SerializeToString() == read.SerializeToString()
    return read


def test_our_own_files_stay_as_they_are(tmp_path, run_onnx):
    model = small()
    assert load_onnx(saved(tmp_path, model)).SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo_stays_as_it_is(tmp_path, name):
    model = to_onnx(zoo.build(name, (1, 32, 32), 10, 8).eval(), InputContract((1, 32, 32), (0.5,), (0.5,)))
    assert load_onnx(saved(tmp_path, model)).SerializeToString() == model.SerializeToString()


def view(x):
    return x.view(x.size(0), -1)


class Exported(nn.Module):
    """What exporters make of everyday code: shapes computed at run time, means, strides, old and new activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn, self.drop, self.fc = nn.BatchNorm2d(8), nn.Dropout(0.3), nn.Linear(4, 5)
        self.bn.running_mean.uniform_(-1, 1)

    def forward(self, x):
        x = nn.functional.hardswish(self.bn(self.conv(x)))
        x = nn.functional.interpolate(nn.functional.max_pool2d(x, 2), scale_factor=2.0, mode="nearest")
        left, right = torch.chunk(x, 2, dim=1)
        x = nn.functional.pad(left, (1, 0, 0, 1)) * torch.sigmoid(nn.functional.pad(right, (1, 0, 0, 1)))
        x = torch.cat([x[:, :2], torch.clamp(x[:, 2:], 0)], 1)
        x = x.mean((2, 3), keepdim=True)
        return self.fc(self.drop(view(x))).softmax(-1)


@pytest.mark.parametrize("opset", [9, 11, 13, 14, 17, 18])
@pytest.mark.parametrize("dynamic", [True, False])
def test_what_torch_exports(tmp_path, opset, dynamic, run_onnx):
    torch.manual_seed(0)
    network = Exported().eval()
    axes = {"image": {0: "batch"}} if dynamic else None
    path = tmp_path / "exported.onnx"
    torch.onnx.export(
        network,
        torch.zeros(1, *IMAGE),
        path,
        opset_version=opset,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        keep_initializers_as_inputs=opset == 9,
        input_names=["image"],
        dynamic_axes=axes,
    )
    read = check(tmp_path, onnx.load(path), run_onnx)
    operators = {node.op_type for node in read.graph.node}
    assert not operators & {"Shape", "Gather", "Constant", "ConstantOfShape", "Identity", "Dropout", "Cast", "Upsample"}
    assert "BatchNormalization" in operators
    assert len(read.graph.input) == 1


def test_unnamed_and_equally_named_layers_get_names_of_their_own():
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["b"], name="n")]
    nodes += [helper.make_node("Relu", ["b"], ["c"], name="n"), helper.make_node("Relu", ["c"], ["y"])]
    read = normal_form(graph_model(nodes))
    assert [node.name for node in read.graph.node] == ["Relu_0", "n", "Relu_1", "Relu_2"]
    assert [name for name, _ in to_torch(read).named_children()] == ["Relu_0", "n", "Relu_1", "Relu_2"]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_pads_are_written_out(tmp_path, mode, run_onnx):
    weights = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    weights["t"] = np.random.default_rng(1).standard_normal((4, 2, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], auto_pad=mode, strides=[2, 2], kernel_shape=[3, 3]),
        helper.make_node("MaxPool", ["a"], ["b"], auto_pad=mode, strides=[2, 1], kernel_shape=[2, 2]),
        helper.make_node("ConvTranspose", ["b", "t"], ["y"], auto_pad=mode, strides=[2, 2]),
    ]
    read = check(tmp_path, graph_model(nodes, weights), run_onnx)
    attributes = [{attribute.name for attribute in node.attribute} for node in read.graph.node]
    assert all("auto_pad" not in names and "pads" in names for names in attributes)


def test_an_nhwc_input_becomes_nchw(tmp_path, run_onnx):
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "w"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    model = graph_model(nodes, weights, inputs=[value("x", 1, ["N", 16, 16, 3])])
    read = check(tmp_path, model, run_onnx, given=lambda images: np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    assert [node.op_type for node in read.graph.node] == ["Conv"]


def test_a_batch_fixed_to_eight_opens(tmp_path, run_onnx):
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["m"])]
    nodes.append(helper.make_node("Add", ["m", "b"], ["y"]))
    weights = {"shape": np.asarray([8, -1]), "w": np.ones((768, 2), np.float32), "b": np.ones(2, np.float32)}
    read = load_onnx(saved(tmp_path, graph_model(nodes, weights, inputs=[value("x", 1, [8, *IMAGE])])))
    images = np.random.default_rng(0).standard_normal((3, *IMAGE)).astype(np.float32)
    np.testing.assert_allclose(run_onnx(read, images)[0], images.reshape(3, -1) @ weights["w"] + 1, rtol=1e-4)
    assert [type(layer) for _, layer in to_torch(read).named_children()] == [nn.Flatten, nn.Linear]


def test_what_does_not_depend_on_the_image_is_folded(tmp_path, run_onnx):
    nodes = [
        helper.make_node("Exp", ["logarithm"], ["factor"]),
        helper.make_node("Mul", ["x", "factor"], ["a"]),
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node(
            "ConstantOfShape", ["shape"], ["zeros"], value=numpy_helper.from_array(np.ones(1, np.float32))
        ),
        helper.make_node("Add", ["a", "zeros"], ["y"]),
        helper.make_node("Relu", ["a"], ["unused"]),
    ]
    read = check(tmp_path, graph_model(nodes, {"logarithm": np.float32(0.7)}), run_onnx)
    assert [node.op_type for node in read.graph.node] == ["Mul", "Add"]


def test_a_huge_constant_is_not_made(tmp_path):
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["huge"]), helper.make_node("Add", ["x", "huge"], ["y"])]
    path = saved(tmp_path, graph_model(nodes, {"size": np.asarray([1 << 20, 1 << 14, 1, 1])}))
    with pytest.raises(NetworkError):
        to_torch(load_onnx(path))


def test_random_numbers_are_not_folded(tmp_path):
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[1, 3, 1, 1]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    with pytest.raises(NetworkError, match="RandomNormal"):
        to_torch(load_onnx(saved(tmp_path, graph_model(nodes))))


def test_the_contract_survives_a_conversion(tmp_path):
    model = small()
    model.opset_import[0].version = 11
    del model.graph.value_info[:]
    read = load_onnx(saved(tmp_path, model))
    assert {entry.key for entry in read.metadata_props} == {"kpufit.mean", "kpufit.std"}


def test_reading_needs_no_torch():
    code = "import sys, pipeline.network.read; sys.exit('torch' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_face_detector(shared, run_onnx):
    path = shared / "models" / "slim320_face.onnx"
    if not path.is_file():
        pytest.skip(f"{path} absent")
    read = load_onnx(path)
    images = np.random.default_rng(0).standard_normal((2, 3, 240, 320)).astype(np.float32)
    each = [run_onnx(onnx.load(path), images[index : index + 1]) for index in range(2)]
    expected = [np.concatenate(parts) for parts in zip(*each, strict=True)]
    network = to_torch(read)
    written = to_onnx(network, InputContract((3, 240, 320), (0.5,) * 3, (0.5,) * 3))
    for wanted, got, torched, again in zip(
        expected, run_onnx(read, images), network(torch.from_numpy(images)), run_onnx(written, images), strict=True
    ):
        for output in (got, torched.detach(), again):
            np.testing.assert_allclose(output, wanted, atol=1e-5)
