"""A network as the layers that a K210 compiler sees: from ONNX alone, with BatchNorm and activations folded.

Only shapes are read, never weights, so that this is fast enough to be called hundreds of times while a pruning ratio is
solved. Shapes are computed here for common operators; for others they are asked of ``onnx.shape_inference``, once.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from pipeline.errors import NetworkError
from pipeline.kpu.shapes import Shape, output_shape, pads, pair, windowed

FOLDING_ACTIVATIONS = frozenset(
    {"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Mish", "Softplus"}
)
"""Activations that become the 16-segment table of the convolution before them (measured with nncase 1.9.0.20230322)."""

WITHOUT_WORK = frozenset({"Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that move no data: nncase turns them into views."""

_WINDOWED = frozenset({"Conv", "MaxPool", "AveragePool"})
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Layer:
    """One operator with what was folded into it.

    Attributes:
        name: of the ONNX node.
        op: its ONNX operator; "Scale" for a BatchNorm or a constant multiply that nothing could fold.
        inputs: tensors that other layers (or the network's input) give.
        output: the tensor it gives, after what was folded.
        in_shape: of the first input, batch 1.
        shape: of the output, batch 1.
        kernel, stride, pads, dilation, groups: of convolutions and pools; pads top, left, bottom, right.
        activation: the folded activation's operator, or "".
        weights: how many weights it holds, without bias.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    in_shape: Shape
    shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: str = ""
    weights: int = 0


@dataclass(frozen=True)
class Network:
    """The layers of a network in an order in which they can run.

    Attributes:
        input: name of the input tensor.
        input_shape: its shape, batch 1.
        layers: every operator that does work or reshapes.
        outputs: names of the output tensors.
        shapes: of every tensor.
    """

    input: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, Shape]


@dataclass
class _Reading:
    """What is known so far while the nodes are read in order."""

    model: onnx.ModelProto
    dims: dict[str, Shape]
    constants: dict[str, onnx.TensorProto]
    readers: Counter[str]
    shapes: dict[str, Shape] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    inferred: dict[str, Shape] | None = None


def read_layers(model: onnx.ModelProto) -> Network:
    """Return the layers of a network in ONNX, its batch taken as 1.

    Raises:
        NetworkError: not exactly one input, or a tensor whose shape cannot be told (names the operator and layer).
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise NetworkError(f"a kmodel from here has one image input, not {len(inputs)}", where=graph.name)
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    reading = _Reading(model, dims, constants, readers)
    shape = (1, *(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim[1:]))
    if 0 in shape:
        raise NetworkError(
            "the input's size is not fixed", where=inputs[0].name, remedy="export it with a fixed height and width"
        )
    reading.shapes[inputs[0].name] = shape
    for node in graph.node:
        _read(reading, node)
    outputs = tuple(_resolve(reading, value.name) for value in graph.output)
    return Network(inputs[0].name, shape, tuple(reading.layers.values()), outputs, reading.shapes)


def _read(reading: _Reading, node: onnx.NodeProto) -> None:
    """Add a node's layer, or fold it into the one before."""
    if node.op_type == "Constant":
        _read_constant(reading, node)
        return
    name = node.name or f"{node.op_type}:{node.output[0]}"
    inputs = tuple(_resolve(reading, n) for n in node.input if n and n not in reading.dims)
    if not inputs:
        raise NetworkError(
            f"{node.op_type} computes a constant", where=name, remedy="simplify the network first (onnxslim)"
        )
    if _fold(reading, node, inputs):
        return
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    in_shape = reading.shapes[inputs[0]]
    layer = Layer(name, node.op_type, inputs, node.output[0], in_shape, in_shape)
    parameters = [reading.dims[n] for n in node.input if n in reading.dims]
    if node.op_type in _WEIGHTED and parameters:
        layer = replace(layer, weights=math.prod(parameters[0]))
    if node.op_type in _WINDOWED:
        layer = _window(layer, attributes, parameters)
    else:
        layer = replace(layer, shape=_shape(reading, node, layer, attributes, parameters))
    if node.op_type == "BatchNormalization" or (node.op_type in ("Add", "Mul", "Div", "Sub") and len(inputs) == 1):
        layer = replace(layer, op="Scale", weights=2 * in_shape[1])
    reading.shapes[node.output[0]] = layer.shape
    reading.layers[node.output[0]] = layer


def _window(layer: Layer, attributes: dict[str, Any], parameters: list[Shape]) -> Layer:
    """Give a convolution or a pool its window and its shape."""
    kernel = pair(attributes.get("kernel_shape") or parameters[0][2:])
    stride = pair(attributes.get("strides") or (1, 1))
    dilation = pair(attributes.get("dilations") or (1, 1))
    sides = layer.in_shape[2:]
    padding = pads(attributes, sides, kernel, stride, dilation)
    ceil = bool(attributes.get("ceil_mode", 0))
    after = windowed(
        sides, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil=ceil, where=layer.name
    )
    return replace(
        layer,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        pads=padding,
        groups=int(attributes.get("group", 1)),
        shape=(1, parameters[0][0] if layer.op == "Conv" else layer.in_shape[1], *after),
    )


def _read_constant(reading: _Reading, node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "value":
            reading.constants[node.output[0]] = attribute.t
            reading.dims[node.output[0]] = tuple(attribute.t.dims)
            return
    value = onnx.helper.get_attribute_value(node.attribute[0])
    tensor = numpy_helper.from_array(np.asarray(value), node.output[0])
    reading.constants[node.output[0]] = tensor
    reading.dims[node.output[0]] = tuple(tensor.dims)


def _fold(reading: _Reading, node: onnx.NodeProto, inputs: tuple[str, ...]) -> bool:
    """Fold a BatchNorm, a bias, an activation or a SiLU's product into the layer before, where nncase (or we) can."""
    output = node.output[0]
    if node.op_type in ("Identity", "Dropout", "Cast"):
        reading.renamed[output] = inputs[0]
        return True
    if node.op_type == "Mul" and len(inputs) == 2 and _fold_silu(reading, inputs, output):
        return True
    before = reading.layers.get(inputs[0])
    if before is None or len(inputs) != 1:
        return False
    alone = reading.readers[before.output] == 1
    linear = before.op in ("Conv", "Gemm", "MatMul", "ConvTranspose") and not before.activation
    if alone and linear and node.op_type in ("BatchNormalization", "Add"):
        _rename(reading, before, output, before.activation)
        return True
    foldable = before.op in ("Conv", "Add", "Gemm", "MatMul", "Scale", "Concat", "Mul") and not before.activation
    if alone and foldable and node.op_type in FOLDING_ACTIVATIONS:
        _rename(reading, before, output, node.op_type)
        return True
    return False


def _fold_silu(reading: _Reading, inputs: tuple[str, ...], output: str) -> bool:
    """``x · sigmoid(x)`` behind a convolution is one activation."""
    for gate, value in (inputs, inputs[::-1]):
        sigmoid, before = reading.layers.get(gate), reading.layers.get(value)
        if sigmoid is None or before is None or before.op != "Conv" or before.activation:
            continue
        if sigmoid.op in ("Sigmoid", "HardSigmoid") and sigmoid.inputs == (value,) and reading.readers[value] == 2:
            del reading.layers[gate]
            _rename(reading, before, output, "Silu" if sigmoid.op == "Sigmoid" else "HardSwish")
            return True
    return False


def _rename(reading: _Reading, layer: Layer, output: str, activation: str) -> None:
    del reading.layers[layer.output]
    reading.layers[output] = replace(layer, output=output, activation=activation)
    reading.shapes[output] = layer.shape
    reading.readers[layer.output] = reading.readers[output]


def _resolve(reading: _Reading, name: str) -> str:
    while name in reading.renamed:
        name = reading.renamed[name]
    return name


def _shape(
    reading: _Reading, node: onnx.NodeProto, layer: Layer, attributes: dict[str, Any], parameters: list[Shape]
) -> Shape:
    """Return the shape of a layer's output, batch 1, asking ONNX's own inference for what is not computed here."""
    target = reading.constants.get(node.input[1]) if len(node.input) > 1 else None
    value = numpy_helper.to_array(target) if target is not None and node.op_type == "Reshape" else None
    inputs = [reading.shapes[name] for name in layer.inputs]
    shape = output_shape(node.op_type, inputs, attributes, parameters, value)
    if shape is not None:
        return shape
    if reading.inferred is None:
        inferred = onnx.shape_inference.infer_shapes(reading.model).graph
        reading.inferred = {
            value.name: tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
            for value in [*inferred.value_info, *inferred.output]
            if value.type.tensor_type.HasField("shape")
        }
    shape = reading.inferred.get(node.output[0])
    if shape is None:
        raise NetworkError(
            f"the output shape of {node.op_type} is unknown",
            where=layer.name,
            remedy="simplify the network first (onnxslim), or replace the operator",
        )
    return (1, *shape[1:]) if shape else (1,)
