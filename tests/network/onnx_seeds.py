"""Small valid ONNX files of many forms, for the fuzz to damage: each in a way of its own like what exporters write."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

IMAGE = ("N", 3, 16, 16)
node = helper.make_node


def model(
    nodes: Sequence[NodeProto],
    weights: dict[str, object],
    *,
    opset: int = 13,
    image: Sequence[str | int] = IMAGE,
    as_inputs: bool = False,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Return the network ``x`` → ``y``."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)]
    if as_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", inputs, [output], tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    return helper.make_model(graph, opset_imports=imports, ir_version=3 if as_inputs else 8, functions=functions)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


def _norm(channels: int) -> dict[str, object]:
    return {f"n{i}": np.full(channels, value, np.float32) for i, value in enumerate((1.0, 0.1, 0.0, 1.0))}


def classifier() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], name="stem", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "n0", "n1", "n2", "n3"], ["c"], name="norm", epsilon=1e-3),
        node("Clip", ["c", "low", "high"], ["d"], name="relu6"),
        node("Conv", ["d", "dw"], ["e"], name="depthwise", group=4, auto_pad="SAME_UPPER", kernel_shape=[3, 3]),
        node("MaxPool", ["e"], ["f"], name="pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("ReduceMean", ["f"], ["g"], name="mean", axes=[2, 3], keepdims=0),
        node("Gemm", ["g", "fc", "fb"], ["h"], name="fc", transB=1, alpha=1.0),
        node("Softmax", ["h"], ["y"], name="softmax", axis=-1),
    ]
    weights = {"w": _weights(4, 3, 3, 3), "b": _weights(4), "dw": _weights(4, 1, 3, 3), **_norm(4)}
    weights |= {"low": np.float32(0), "high": np.float32(6), "fc": _weights(5, 4), "fb": _weights(5)}
    return model(nodes, weights)


def light() -> onnx.ModelProto:
    """As ONNX's own light models: opset 9, weights made by ConstantOfShape from shapes listed as inputs."""
    value = numpy_helper.from_array(np.float32([0.5]))
    nodes = [
        node("ConstantOfShape", ["ws"], ["w"], value=value),
        node("ConstantOfShape", ["bs"], ["b"], value=value),
        node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], strides=[2, 2]),
        node("Relu", ["a"], ["c"]),
        node("LRN", ["c"], ["d"], size=3, alpha=1e-4, beta=0.75, bias=1.0),
        node("Dropout", ["d"], ["e", "mask"], ratio=0.5),
        node("AveragePool", ["e"], ["f"], kernel_shape=[2, 2], pads=[0, 0, 1, 1], strides=[2, 2]),
        node("Reshape", ["f", "flat"], ["g"]),
        node("ConstantOfShape", ["fs"], ["fc"], value=value),
        node("Gemm", ["g", "fc", "fb"], ["h"], transB=1),
        node("Softmax", ["h"], ["y"]),
    ]
    weights = {"ws": [4, 3, 3, 3], "bs": [4], "flat": [1, 64], "fs": [2000, 64], "fb": _weights(2000)}
    return model(nodes, weights, opset=9, image=(1, 3, 16, 16), as_inputs=True)


def computed_shapes() -> onnx.ModelProto:
    """As PyTorch exports ``x.view(x.size(0), -1)`` and ``interpolate``, without folding."""
    two = numpy_helper.from_array(np.int64(0))
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Constant", [], ["zero"], value=two),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Constant", [], ["axes"], value_ints=[0]),
        node("Unsqueeze", ["n", "axes"], ["nn"]),
        node("Concat", ["nn", "rest"], ["shape"], axis=0),
        node("Slice", ["x", "from", "to", "along"], ["part"]),
        node("Resize", ["part", "", "scales"], ["up"], mode="nearest", coordinate_transformation_mode="asymmetric"),
        node("Split", ["up", "parts"], ["left", "right"], axis=1),
        node("Concat", ["right", "left"], ["j"], axis=1),
        node("Pad", ["j", "pads"], ["p"], mode="constant"),
        node("Cast", ["p"], ["q"], to=TensorProto.FLOAT),
        node("Reshape", ["q", "shape"], ["flat"]),
        node("MatMul", ["flat", "fc"], ["m"]),
        node("Add", ["m", "fb"], ["y"]),
    ]
    weights = {"rest": [-1], "from": [0, 0], "to": [2, 8], "along": [1, 2], "parts": [1, 1], "fb": _weights(3)}
    weights |= {"scales": np.float32([1, 1, 2, 2]), "pads": [0, 0, 0, 1, 0, 0, 1, 0], "fc": _weights(2 * 17 * 33, 3)}
    return model(nodes, weights)


def new_forms() -> onnx.ModelProto:
    """Opset 18: axes and the number of parts as inputs and attributes; HardSwish; a batch fixed to two."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], auto_pad="SAME_LOWER"),
        node("HardSwish", ["a"], ["b"]),
        node("Split", ["b"], ["l", "r"], axis=1, num_outputs=2),
        node("Mul", ["l", "r"], ["c"]),
        node("ConvTranspose", ["c", "t"], ["d"], strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 1, 1]),
        node("Pad", ["d", "pads", "", "sides"], ["e"], mode="constant"),
        node("ReduceMean", ["e", "sides"], ["f"], keepdims=1),
        node("Reshape", ["f", "shape"], ["g"], allowzero=0),
        node("LogSoftmax", ["g"], ["y"], axis=1),
    ]
    weights = {"w": _weights(4, 3, 3, 3), "t": _weights(2, 3, 3, 3), "pads": [0, 1, 1, 0], "sides": [2, 3]}
    return model(nodes, weights | {"shape": [2, -1]}, opset=18, image=(2, 3, 16, 16))


def old_forms() -> onnx.ModelProto:
    """Opset 9: Upsample, pads, slices and bounds as attributes, an N×H×W×C image."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Upsample", ["t", "scales"], ["u"], mode="nearest"),
        node("Pad", ["u"], ["p"], mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        node("Slice", ["p"], ["s"], starts=[0, 1], ends=[3, 9], axes=[1, 2]),
        node("Clip", ["s"], ["c"], min=-1.0, max=1.0),
        node("PRelu", ["c", "slope"], ["d"]),
        node("Sum", ["d", "c"], ["e"]),
        node("Squeeze", ["g"], ["h"], axes=[2, 3]),
        node("Softmax", ["h"], ["y"], axis=1),
    ]
    nodes.insert(7, node("GlobalAveragePool", ["e"], ["g"]))
    weights = {"scales": np.float32([1, 1, 2, 2]), "slope": _weights(3, 1, 1)}
    return model(nodes, weights, opset=9, image=(1, 8, 8, 3))


def nested() -> onnx.ModelProto:
    """A function of its own, a branch and two outputs of one layer."""
    shuffle = helper.make_function(
        "local", "Swish", ["i"], ["o"], [node("Sigmoid", ["i"], ["s"]), node("Mul", ["i", "s"], ["o"])],
        [helper.make_opsetid("", 13)],
    )  # fmt: skip
    branch = helper.make_graph(
        [node("Neg", ["a"], ["t"])], "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)]
    )
    other = helper.make_graph(
        [node("Relu", ["a"], ["e"])], "else", [], [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)]
    )
    nodes = [
        node("Swish", ["x"], ["a"], domain="local"),
        node("If", ["yes"], ["b"], then_branch=branch, else_branch=other),
        node("Greater", ["b", "zero"], ["more"]),
        node("Where", ["more", "b", "a"], ["c"]),
        node("TopK", ["c", "k"], ["y", "best"], axis=3),
    ]
    weights = {"yes": np.bool_(True), "zero": np.float32(0), "k": [4]}
    return model(nodes, weights, functions=[shuffle])


SEEDS: dict[str, Callable[[], onnx.ModelProto]] = {
    made.__name__: made for made in (classifier, light, computed_shapes, new_forms, old_forms, nested)
}
