"""Every form that an operator has had in opsets 7 to 18, in normal form: the same function, in opset 13."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.network.read import load_onnx

IMAGE = (4, 8, 6)
make = helper.make_node


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


CASES: dict[str, tuple[range | tuple[int, ...], list[onnx.NodeProto], dict[str, object]]] = {
    "upsample by attribute": ((7, 8), [make("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0])], {}),
    "upsample": ((9,), [make("Upsample", ["x", "s"], ["y"], mode="nearest")], {"s": np.float32([1, 1, 2, 3])}),
    "resize 10": ((10,), [make("Resize", ["x", "s"], ["y"], mode="nearest")], {"s": np.float32([1, 1, 2, 2])}),
    "resize 11": (
        (11, 12),
        [make("Resize", ["x", "r", "s"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
        {"r": np.zeros(0, np.float32), "s": np.float32([1, 1, 2, 2])},
    ),
    "resize 13": (
        range(13, 19),
        [make("Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
        {"s": np.float32([1, 1, 2, 2])},
    ),
    "resize to sizes": (
        range(13, 19),
        [make("Resize", ["x", "", "", "s"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric")],
        {"s": [1, 4, 16, 12]},
    ),
    "clip by attributes": (range(7, 11), [make("Clip", ["x"], ["y"], min=-0.5, max=0.7)], {}),
    "clip from below by attribute": (range(7, 11), [make("Clip", ["x"], ["y"], min=0.0)], {}),
    "clip": (range(11, 19), [make("Clip", ["x", "", "m"], ["y"])], {"m": np.float32(0.5)}),
    "dropout by attribute": (range(7, 12), [make("Dropout", ["x"], ["a"], ratio=0.3), make("Neg", ["a"], ["y"])], {}),
    "dropout with a mask": (range(7, 12), [make("Dropout", ["x"], ["a", "m"]), make("Neg", ["a"], ["y"])], {}),
    "dropout": (
        range(12, 19),
        [make("Dropout", ["x", "r", "t"], ["a", "m"]), make("Neg", ["a"], ["y"])],
        {"r": np.float32(0.5), "t": np.bool_(False)},
    ),
    "dropout at the end": (range(7, 12), [make("Neg", ["x"], ["a"]), make("Dropout", ["a"], ["y", "mask"])], {}),
    "pad by attributes": (
        range(7, 11),
        [make("Pad", ["x"], ["y"], pads=[0, 0, 1, 0, 0, 0, 2, 1], mode="constant", value=0.0)],
        {},
    ),
    "pad": (range(11, 19), [make("Pad", ["x", "p"], ["y"])], {"p": [0, 0, 1, 0, 0, 0, 2, 1]}),
    "pad of axes": ((18,), [make("Pad", ["x", "p", "", "a"], ["y"])], {"p": [1, 0, 2, 1], "a": [2, -1]}),
    "slice by attributes": (
        range(7, 10),
        [make("Slice", ["x"], ["y"], starts=[1, -4], ends=[3, 1 << 40], axes=[1, 3])],
        {},
    ),
    "slice by attributes, all axes": (
        range(7, 10),
        [make("Slice", ["x"], ["y"], starts=[0, 1, 0, 0], ends=[1 << 31, 3, 99, 99])],
        {},
    ),
    "slice": (range(10, 19), [make("Slice", ["x", "s", "e", "a"], ["y"])], {"s": [1], "e": [3], "a": [1]}),
    "slice by steps": (
        range(10, 19),
        [make("Slice", ["x", "s", "e", "a", "t"], ["y"])],
        {"s": [0], "e": [99], "a": [2], "t": [2]},
    ),
    "batch norm, spatial": (
        (7, 8),
        [make("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], momentum=0.9)],
        {"g": weights(4), "b": weights(4), "m": weights(4), "v": np.ones(4, np.float32)},
    ),
    "batch norm": (
        range(9, 19),
        [make("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=1e-3)],
        {"g": weights(4), "b": weights(4), "m": weights(4), "v": np.ones(4, np.float32)},
    ),
    "softmax, flattening": (range(7, 13), [make("Softmax", ["x"], ["y"], axis=1)], {}),
    "softmax, flattening by default": (range(7, 13), [make("Softmax", ["x"], ["y"])], {}),
    "softmax of a vector": (
        range(7, 13),
        [make("GlobalAveragePool", ["x"], ["a"]), make("Flatten", ["a"], ["b"]), make("Softmax", ["b"], ["y"])],
        {},
    ),
    "log softmax, last axis": (range(7, 13), [make("LogSoftmax", ["x"], ["y"], axis=3)], {}),
    "softmax of a channel": (range(13, 19), [make("Softmax", ["x"], ["y"], axis=1)], {}),
    "mean by attribute": (range(7, 18), [make("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], {}),
    "mean by negative axes": (range(11, 18), [make("ReduceMean", ["x"], ["y"], axes=[-1, -2])], {}),
    "mean": ((18,), [make("ReduceMean", ["x", "a"], ["y"], keepdims=1)], {"a": [2, 3]}),
    "sum by attribute": (range(7, 13), [make("ReduceSum", ["x"], ["y"], axes=[1])], {}),
    "sum": (range(13, 19), [make("ReduceSum", ["x", "a"], ["y"], keepdims=0)], {"a": [1]}),
    "largest": ((18,), [make("ReduceMax", ["x", "a"], ["y"])], {"a": [1]}),
    "squeeze by attribute": (
        range(7, 13),
        [make("GlobalAveragePool", ["x"], ["a"]), make("Squeeze", ["a"], ["y"], axes=[2, 3])],
        {},
    ),
    "squeeze": (
        range(13, 19),
        [make("GlobalMaxPool", ["x"], ["a"]), make("Squeeze", ["a", "d"], ["y"])],
        {"d": [2, 3]},
    ),
    "unsqueeze by attribute": (
        range(7, 13),
        [make("ReduceMax", ["x"], ["a"], axes=[2], keepdims=0), make("Unsqueeze", ["a"], ["y"], axes=[2])],
        {},
    ),
    "unsqueeze of weights by attribute": (
        range(7, 13),
        [make("Unsqueeze", ["w"], ["v"], axes=[1, 2]), make("Mul", ["x", "v"], ["y"])],
        {"w": weights(4)},
    ),
    "lrn": (range(7, 19), [make("LRN", ["x"], ["y"], size=3, alpha=1e-2, beta=0.75, bias=1.0)], {}),
    "split by attribute": (
        range(7, 13),
        [make("Split", ["x"], ["a", "b"], axis=1, split=[1, 3]), make("Concat", ["b", "a"], ["y"], axis=1)],
        {},
    ),
    "split into equal parts": (
        range(7, 18),
        [make("Split", ["x"], ["a", "b"], axis=1), make("Sub", ["b", "a"], ["y"])],
        {},
    ),
    "split by input": (
        range(13, 19),
        [make("Split", ["x", "p"], ["a", "b"], axis=1), make("Concat", ["b", "a"], ["y"], axis=1)],
        {"p": [3, 1]},
    ),
    "split by number": (
        (18,),
        [make("Split", ["x"], ["a", "b"], axis=2, num_outputs=2), make("Concat", ["b", "a"], ["y"], axis=2)],
        {},
    ),
    "average pool": (range(7, 19), [make("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {}),
    "average pool, counting pads": (
        range(7, 19),
        [make("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
        {},
    ),
    "max pool with indices": (range(8, 19), [make("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], {}),
    "max pool, rounding up": (
        range(10, 19),
        [make("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        {},
    ),
    "matrix product, bias in one row": (
        range(7, 19),
        [make("Flatten", ["x"], ["f"]), make("Gemm", ["f", "w", "b"], ["y"], transB=1)],
        {"w": weights(3, 192), "b": weights(3)},
    ),
    "matrix product without bias": (
        range(11, 19),
        [make("Flatten", ["x"], ["f"]), make("Gemm", ["f", "w"], ["y"])],
        {"w": weights(192, 3)},
    ),
    "prelu of a channel": (range(7, 19), [make("PRelu", ["x", "s"], ["y"])], {"s": weights(4, 1, 1)}),
    "sum of several": (range(8, 19), [make("Neg", ["x"], ["a"]), make("Sum", ["x", "a", "x"], ["y"])], {}),
    "convolution without kernel_shape": (range(7, 19), [make("Conv", ["x", "w"], ["y"])], {"w": weights(2, 4, 3, 3)}),
    "transposed convolution": (
        range(7, 19),
        [make("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 1])],
        {"w": weights(4, 2, 3, 3)},
    ),
    "reshape": (range(7, 19), [make("Reshape", ["x", "s"], ["y"])], {"s": [0, 2, -1]}),
    "constant of shape": (
        range(9, 19),
        [
            make("ConstantOfShape", ["s"], ["w"], value=numpy_helper.from_array(np.float32([0.5]))),
            make("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3]),
        ],
        {"s": [2, 4, 3, 3]},
    ),
    "constants of every kind": (
        range(12, 19),
        [
            make("Constant", [], ["a"], value_float=0.5),
            make("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
            make("Constant", [], ["s"], value_ints=[4, 1, 1]),
            make("Reshape", ["b", "s"], ["c"]),
            make("Mul", ["x", "a"], ["d"]),
            make("Add", ["d", "c"], ["y"]),
        ],
        {},
    ),
    "hard swish": (range(14, 19), [make("HardSwish", ["x"], ["y"])], {}),
    "mish": ((18,), [make("Mish", ["x"], ["y"])], {}),
    "celu": (range(12, 19), [make("Celu", ["x"], ["y"], alpha=0.8)], {}),
    "arg max": (
        range(7, 19),
        [make("ArgMax", ["x"], ["a"], axis=1, keepdims=1), make("Cast", ["a"], ["y"], to=TensorProto.FLOAT)],
        {},
    ),
    "a cast of integers": (
        range(7, 19),
        [
            make("ArgMax", ["x"], ["a"], axis=1, keepdims=1),
            make("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
            make("Mul", ["x", "b"], ["y"]),
        ],
        {},
    ),
    "depth to space": (range(7, 19), [make("DepthToSpace", ["x"], ["y"], blocksize=2)], {}),
    "instance norm": (
        range(7, 19),
        [make("InstanceNormalization", ["x", "g", "b"], ["y"])],
        {"g": weights(4), "b": weights(4)},
    ),
}

EVERY = [(name, opset) for name, (opsets, _, _) in CASES.items() for opset in opsets]


def in_opset(name: str, opset: int, *, as_inputs: bool) -> onnx.ModelProto:
    _, nodes, constants = CASES[name]
    tensors = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *IMAGE])]
    if as_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if as_inputs else 8)


@pytest.mark.parametrize(("name", "opset"), EVERY)
def test_form(tmp_path, run_onnx, name, opset):
    model = in_opset(name, opset, as_inputs=opset < 10)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    read = load_onnx(path)
    onnx.checker.check_model(read, full_check=True)
    assert [(entry.domain, entry.version) for entry in read.opset_import] == [("", 13)]
    assert len(read.graph.input) == 1
    assert not {"Constant", "ConstantOfShape", "Identity", "Upsample"} & {node.op_type for node in read.graph.node}
    assert all(node.name and all(node.input[-1:]) for node in read.graph.node)
    images = np.random.default_rng(0).standard_normal((1, *IMAGE)).astype(np.float32)
    for wanted, got in zip(run_onnx(model, images), run_onnx(read, images), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    shapes = load_onnx(path, weights=False)
    assert [node.op_type for node in shapes.graph.node] == [node.op_type for node in read.graph.node]
    assert [value.type for value in shapes.graph.value_info] == [value.type for value in read.graph.value_info]
