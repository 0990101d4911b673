"""An ONNX network as nncase 1.9 imports it (kendryte/nncase v1.9.0, src/importer/onnx/ops), operator by operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from pipeline.errors import NetworkError
from pipeline.kpu.nncase.graph import F32, U8, Graph, Node, Shape, Value
from pipeline.kpu.nncase.nodes import (
    FULL,
    binary,
    bitcast,
    concat,
    conv2d,
    count,
    dequantize,
    is_constant,
    pad,
    reduce,
    slice_,
    transpose,
    unary,
)
from pipeline.kpu.nncase.program import Refusal
from pipeline.kpu.nncase.tensors import Tensors, attributes_of, pair


class ImportRefused(Exception):  # noqa: N818  (a result on its way, not an error of ours)
    """Raised by an importer for an operator, or a form of it, that nncase does not take."""


@dataclass(frozen=True)
class Operator:
    """One ONNX node while it is imported.

    Attributes:
        name: of the layer.
        op: the operator.
        inputs: names of its tensors, "" where one is left out.
        outputs: names of its results.
        attributes: by name.
        layers: the layer's name, for the nodes made of it.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that nodes made of this operator come from."""
        return (self.name,)


Import = Callable[[Tensors, Operator], Value | list[Value]]


def _conv(t: Tensors, o: Operator) -> Value:
    source, weights = t[o.inputs[0]], t[o.inputs[1]]
    if not is_constant(weights):
        raise ImportRefused("weights that the network computes")
    if len(source.shape) != 4:
        raise ImportRefused(f"a convolution over {len(source.shape) - 2} dimensions")
    bias = t[o.inputs[2]] if len(o.inputs) > 2 and o.inputs[2] else t.graph.constant((weights.shape[0],))
    strides, dilation = pair(o.attributes.get("strides")), pair(o.attributes.get("dilations"))
    pads = _pads(o, source.shape[2:], weights.shape[2:], strides, dilation)
    made = conv2d(
        t.graph, [source, weights, bias], o.layers, pads=pads, strides=strides, dilation=dilation,
        groups=int(o.attributes.get("group", 1)),
    )  # fmt: skip
    if min(made.shape[2:]) < 1:
        raise _too_small(o.name, weights.shape[2:], source.shape)
    return made


def _too_small(name: str, kernel: Shape, shape: Shape) -> NetworkError:
    return NetworkError(
        f"a window of {'×'.join(map(str, kernel))} is larger than its padded input of {'×'.join(map(str, shape[2:]))}",
        where=name,
        remedy="give larger images, or fewer strides and pools before this layer",
    )


def _conv_transpose(t: Tensors, o: Operator) -> Value:
    source, weights = t[o.inputs[0]], t[o.inputs[1]]
    groups = int(o.attributes.get("group", 1))
    channels = weights.shape[1] * groups
    bias = t[o.inputs[2]] if len(o.inputs) > 2 and o.inputs[2] else t.graph.constant((channels,))
    strides, dilation = pair(o.attributes.get("strides")), pair(o.attributes.get("dilations"))
    extra = pair(o.attributes.get("output_padding"), 0)
    flat = list(o.attributes.get("pads") or (0, 0, 0, 0))
    kernel = weights.shape[2:]
    given = [(flat[i], flat[i + 2]) for i in (0, 1)]
    # As a convolution of a map with gaps: padding of kernel − 1 − pad on either side.
    pads = tuple(
        (dilation[i] * (kernel[i] - 1) - a, dilation[i] * (kernel[i] - 1) - b) for i, (a, b) in enumerate(given)
    )
    sides = [
        (source.shape[2 + i] - 1) * strides[i] - sum(given[i]) + dilation[i] * (kernel[i] - 1) + 1 + extra[i]
        for i in (0, 1)
    ]
    turned = t.graph.constant((channels, weights.shape[0] // groups, *kernel), key=("turned", o.inputs[1]))
    return t.graph.add(
        "conv2d_transpose", [source, turned, bias], (source.shape[0], channels, *sides), F32, o.layers, pads=pads,
        strides=strides, dilation=dilation, groups=groups, output_pads=extra, act=FULL,
    )  # fmt: skip


def _pads(
    o: Operator, sides: Shape, kernel: Shape, strides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the padding before and after height and width, ``auto_pad`` worked out."""
    mode = o.attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID", ""):
        flat = list(o.attributes.get("pads") or (0, 0, 0, 0)) if mode != "VALID" else [0, 0, 0, 0]
        return (flat[0], flat[2]), (flat[1], flat[3])
    both = []
    for side, k, s, d in zip(sides, kernel, strides, dilation, strict=True):
        needed = max(0, (-(-side // s) - 1) * s + (k - 1) * d + 1 - side)
        low, high = needed // 2, needed - needed // 2
        both.append((high, low) if mode == "SAME_LOWER" else (low, high))
    return both[0], both[1]


def _pool(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        source = t[o.inputs[0]]
        if len(source.shape) != 4:
            raise ImportRefused(f"a pool over {len(source.shape) - 2} dimensions")
        kernel, strides = pair(o.attributes["kernel_shape"]), pair(o.attributes.get("strides"))
        dilation = pair(o.attributes.get("dilations"))
        pads = _pads(o, source.shape[2:], kernel, strides, dilation)
        return window(t.graph, kind, source, kernel, strides, pads, dilation, bool(o.attributes.get("ceil_mode")), o)

    return build


def _global_pool(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        source = t[o.inputs[0]]
        return reduce(t.graph, kind, source, range(2, len(source.shape)), True, o.layers)

    return build


def window(
    graph: Graph,
    kind: str,
    source: Value,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    ceil: bool,
    o: Operator,
) -> Value:
    """Reduce windows of a map."""
    sides = []
    for i in (0, 1):
        room = source.shape[2 + i] + sum(pads[i]) - (dilation[i] * (kernel[i] - 1) + 1)
        sides.append((-(-room // strides[i]) if ceil else room // strides[i]) + 1)
    if min(sides) < 1:
        raise _too_small(o.name, kernel, source.shape)
    shape = (*source.shape[:2], *sides)
    return graph.add(
        "reduce_window2d", [source], shape, F32, o.layers, kind=kind, kernel=kernel, strides=strides, pads=pads,
        dilation=dilation, ceil=ceil,
    )  # fmt: skip


def _relu(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    if t.prepared and source.node.op in ("conv2d", "conv2d_transpose", "binary"):
        return t.graph.add("clamp", [source], source.shape, F32, o.layers, low=0.0, high=math.inf)
    return binary(t.graph, "max", t[o.inputs[0]], t.graph.constant((1,), value=0.0), o.layers)


def _leaky_relu(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    scaled = binary(t.graph, "mul", source, t.graph.constant((1,), value=o.attributes.get("alpha", 0.01)), o.layers)
    return binary(t.graph, "max", source, scaled, o.layers)


def _prelu(t: Tensors, o: Operator) -> Value:
    source, slope = t[o.inputs[0]], t[o.inputs[1]]
    zero = t.graph.constant((1,), value=0.0)
    positive = binary(t.graph, "max", source, zero, o.layers)
    negative = binary(t.graph, "min", source, zero, o.layers)
    return binary(t.graph, "add", positive, binary(t.graph, "mul", negative, slope, o.layers), o.layers)


def _clip(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]

    def bound(index: int, name: str, default: float) -> float | None:
        if len(o.inputs) > index and o.inputs[index]:
            given = t[o.inputs[index]]
            return given.node["value"] if is_constant(given) else None
        return float(o.attributes.get(name, default))

    low, high = bound(1, "min", -math.inf), bound(2, "max", math.inf)
    return t.graph.add("clamp", [source], source.shape, F32, o.layers, low=low, high=high)


def _sigmoid(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    return t.graph.add("sigmoid", [source], source.shape, F32, o.layers)


def _function(t: Tensors, o: Operator) -> Value:
    """Import a function of one value made of unary operators and arithmetic with numbers: it always fuses."""
    source = t[o.inputs[0]]
    one = t.graph.constant((1,), value=math.pi)
    first = binary(t.graph, "mul", source, one, o.layers)
    return binary(t.graph, "max", source, first, o.layers)


def _unary(t: Tensors, o: Operator) -> Value:
    return unary(t.graph, o.op.lower(), t[o.inputs[0]], o.layers)


def _binary(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        return binary(t.graph, kind, t[o.inputs[0]], t[o.inputs[1]], o.layers)

    return build


def _many(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        result = t[o.inputs[0]]
        for name in o.inputs[1:]:
            result = binary(t.graph, kind, result, t[name], o.layers)
        return result

    return build


def _batch_norm(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    if t.prepared and t.readers[o.inputs[0]] == 1 and source.node.op in ("conv2d", "conv2d_transpose", "matmul"):
        return t.graph.add(
            source.node.op, source.node.inputs, source.shape, F32, (*source.node.layers, *o.layers),
            **source.node.settings,
        )  # fmt: skip
    shape = (source.shape[1], *(1,) * (len(source.shape) - 2))
    if t.prepared:
        scaled = binary(t.graph, "mul", source, t.graph.constant(shape), o.layers)
        return binary(t.graph, "add", scaled, t.graph.constant(shape), o.layers)
    result = source
    for kind in ("sub", "div", "mul", "add"):
        result = binary(t.graph, kind, result, t.graph.constant(shape), o.layers)
    return result


def _gemm(t: Tensors, o: Operator) -> Value:
    a, b = t[o.inputs[0]], t[o.inputs[1]]
    if o.attributes.get("transA"):
        a = transpose(t.graph, a, tuple(range(len(a.shape)))[::-1], o.layers)
    if o.attributes.get("transB"):
        b = (
            t.graph.constant(b.shape[::-1], key=("turned", o.inputs[1]))
            if is_constant(b)
            else transpose(t.graph, b, tuple(range(len(b.shape)))[::-1], o.layers)
        )
    alpha = float(o.attributes.get("alpha", 1.0))
    if alpha != 1.0:
        a = binary(t.graph, "mul", t.graph.constant((1,), value=alpha), a, o.layers)
    product = _product(t, o, a, b)
    if len(o.inputs) > 2 and o.inputs[2]:
        return binary(t.graph, "add", product, t.graph.constant(t.shape(o.inputs[2])), o.layers)
    return product


def _matmul(t: Tensors, o: Operator) -> Value:
    return _product(t, o, t[o.inputs[0]], t[o.inputs[1]])


def _product(t: Tensors, o: Operator, a: Value, b: Value) -> Value:
    shape = (*a.shape[:-1], b.shape[-1])
    bias = t.graph.constant((b.shape[-1],))
    return t.graph.add("matmul", [a, b, bias], shape, F32, o.layers, act=FULL)


def _softmax(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    default = -1 if t.opset >= 13 else 1
    axis = int(o.attributes.get("axis", default)) % max(1, len(source.shape))
    return t.graph.add("softmax", [source], source.shape, F32, o.layers, axis=axis)


def _reduce(kind: str) -> Import:
    def build(t: Tensors, o: Operator) -> Value:
        source = t[o.inputs[0]]
        given = o.attributes.get("axes")
        if given is None and len(o.inputs) > 1 and o.inputs[1]:
            given = t.array(o.inputs[1]).tolist()
        axes = [int(a) % len(source.shape) for a in given] if given is not None else list(range(len(source.shape)))
        return reduce(t.graph, kind, source, sorted(axes), bool(o.attributes.get("keepdims", 1)), o.layers)

    return build


def _concat(t: Tensors, o: Operator) -> Value:
    parts = [t[name] for name in o.inputs]
    axis = int(o.attributes["axis"]) % len(parts[0].shape)
    return concat(t.graph, parts, axis, o.layers) if len(parts) > 1 else parts[0]


def _flatten(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    axis = int(o.attributes.get("axis", 1)) % (len(source.shape) + 1)
    return bitcast(t.graph, source, (count(source.shape[:axis]), count(source.shape[axis:])), o.layers)


def _reshape(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    if len(o.inputs) > 1 and not t.is_constant(o.inputs[1]):
        raise ImportRefused("a shape that the network computes")
    target = t.array(o.inputs[1]).tolist() if len(o.inputs) > 1 else list(o.attributes["shape"])
    sizes = [source.shape[i] if n == 0 and i < len(source.shape) else int(n) for i, n in enumerate(target)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = count(source.shape) // max(1, count(tuple(n for n in sizes if n != -1)))
    elif sizes and count(tuple(sizes)) != count(source.shape):
        sizes[0] = 1  # the batch of the network as exported
    return bitcast(t.graph, source, tuple(sizes), o.layers)


def _squeeze(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    given = o.attributes.get("axes")
    if given is None and len(o.inputs) > 1 and o.inputs[1]:
        given = t.array(o.inputs[1]).tolist()
    axes = {int(a) % len(source.shape) for a in given} if given else {i for i, n in enumerate(source.shape) if n == 1}
    return bitcast(t.graph, source, tuple(n for i, n in enumerate(source.shape) if i not in axes), o.layers)


def _unsqueeze(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    given = o.attributes.get("axes")
    if given is None:
        given = t.array(o.inputs[1]).tolist()
    rank = len(source.shape) + len(given)
    axes, rest = {int(a) % rank for a in given}, iter(source.shape)
    return bitcast(t.graph, source, tuple(1 if i in axes else next(rest) for i in range(rank)), o.layers)


def _transpose(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    perm = o.attributes.get("perm") or list(range(len(source.shape)))[::-1]
    return transpose(t.graph, source, [int(axis) for axis in perm], o.layers)


def _pad(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    flat = o.attributes.get("pads")
    if flat is None:
        flat = t.array(o.inputs[1]).tolist()
    value = float(o.attributes.get("value", 0.0))
    if len(o.inputs) > 2 and o.inputs[2]:
        value = float(t.array(o.inputs[2]).reshape(-1)[0])
    rank = len(source.shape)
    pads = [(int(flat[i]), int(flat[i + rank])) for i in range(rank)]
    return pad(t.graph, source, pads, o.layers, (), o.attributes.get("mode", "constant"), value)


def _slice(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    rank = len(source.shape)
    begin, end, strides = [0] * rank, list(source.shape), [1] * rank

    def given(index: int, name: str) -> list[int] | None:
        if len(o.inputs) > index and o.inputs[index]:
            return [int(n) for n in t.array(o.inputs[index]).reshape(-1)]
        return [int(n) for n in o.attributes[name]] if name in o.attributes else None

    starts, ends = given(1, "starts") or [], given(2, "ends") or []
    axes = given(3, "axes") or list(range(len(starts)))
    steps = given(4, "steps") or [1] * len(starts)
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        i, n = axis % rank, source.shape[axis % rank]
        strides[i] = step
        if step > 0:
            begin[i] = min(max(start + n if start < 0 else start, 0), n)
            end[i] = min(max(stop + n if stop < 0 else stop, 0), n)
        else:
            begin[i] = min(max(start + n if start < 0 else start, 0), n - 1)
            end[i] = max(min(stop + n if -n <= stop < 0 else stop, n - 1), -1)
    return slice_(t.graph, source, begin, end, strides, o.layers, part=True)


def _split(t: Tensors, o: Operator) -> list[Value]:
    source = t[o.inputs[0]]
    axis = int(o.attributes.get("axis", 0)) % len(source.shape)
    sizes = o.attributes.get("split")
    if sizes is None and len(o.inputs) > 1 and o.inputs[1]:
        sizes = t.array(o.inputs[1]).tolist()
    if sizes is None:
        parts = len(o.outputs)
        sizes = [-(-source.shape[axis] // parts)] * parts
        sizes[-1] = source.shape[axis] - sum(sizes[:-1])
    results, at = [], 0
    for size in sizes:
        begin, end = [0] * len(source.shape), list(source.shape)
        begin[axis], end[axis] = at, at + int(size)
        results.append(slice_(t.graph, source, begin, end, [1] * len(source.shape), o.layers, part=True))
        at += int(size)
    return results


def _resize(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    scales: list[float] | None = None
    sizes: list[int] | None = None
    if o.op == "Upsample":
        scales = t.array(o.inputs[1]).tolist() if len(o.inputs) > 1 else list(o.attributes["scales"])
    elif len(o.inputs) == 2:
        scales = t.array(o.inputs[1]).tolist()
    else:
        if len(o.inputs) > 3 and o.inputs[3]:
            sizes = t.array(o.inputs[3]).tolist()
        elif len(o.inputs) > 2 and o.inputs[2]:
            scales = t.array(o.inputs[2]).tolist()
    if sizes is not None:
        shape = (*source.shape[:2], *(int(n) for n in sizes[2:]))
    elif scales:
        shape = tuple(int(math.floor(n * s)) for n, s in zip(source.shape, scales, strict=True))
    else:
        raise ImportRefused("a size that the network computes")
    mode = o.attributes.get("mode", "nearest")
    return t.graph.add(
        "resize_image", [source], shape, F32, o.layers, mode=mode,
        transform=o.attributes.get("coordinate_transformation_mode", "half_pixel"),
    )  # fmt: skip


def _lrn(t: Tensors, o: Operator) -> Value:
    source = t[o.inputs[0]]
    size = int(o.attributes["size"])
    channels = source.shape[1]
    square = unary(t.graph, "square", source, o.layers)
    sums = []
    for i in range(channels):
        first, last = max(0, i - (size - 1) // 2), min(channels - 1, i + -(-(size - 1) // 2))
        begin, end = (0, first, 0, 0), (source.shape[0], last + 1, *source.shape[2:])
        part = slice_(t.graph, square, begin, end, (1, 1, 1, 1), o.layers)
        sums.append(reduce(t.graph, "sum", part, (1,), True, o.layers))
    joined = concat(t.graph, sums, 1, o.layers)
    scaled = binary(t.graph, "mul", t.graph.constant((1,), value=0.5), joined, o.layers)
    biased = binary(t.graph, "add", scaled, t.graph.constant((1,), value=2.0), o.layers)
    power = binary(t.graph, "pow", biased, t.graph.constant((1,), value=0.75), o.layers)
    return binary(t.graph, "div", source, power, o.layers)


def _same(t: Tensors, o: Operator) -> Value:
    return t[o.inputs[0]]


def _unknown(t: Tensors, o: Operator) -> Value:
    raise ImportRefused(f"Not supported ONNX opcode: {o.op}")


IMPORTS: dict[str, Import] = {
    "Add": _binary("add"),
    "AveragePool": _pool("mean"),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _binary("div"),
    "Dropout": _same,
    "Elu": _function,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("max"),
    "HardSigmoid": _function,
    "HardSwish": _function,
    "Identity": _same,
    "LRN": _lrn,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Max": _many("max"),
    "MaxPool": _pool("max"),
    "Mean": _many("add"),
    "Min": _many("min"),
    "Mul": _binary("mul"),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _binary("pow"),
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceSum": _reduce("sum"),
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": _function,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _binary("sub"),
    "Sum": _many("add"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
    **{name: _unary for name in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Log", "Neg", "Round", "Sin", "Sqrt", "Tanh")},
}


@dataclass(frozen=True)
class Imported:
    """A network as nncase has it at first.

    Attributes:
        graph: its operators.
        refusals: what nncase does not import.
        shapes: of every tensor of the ONNX network that is not a constant, batch 1.
    """

    graph: Graph
    refusals: list[Refusal]
    shapes: dict[str, Shape]


def import_onnx(model: onnx.ModelProto, *, prepared: bool = False) -> Imported:
    """Return the graph that nncase makes of a network at first, and what it refuses in it.

    The uint8 image is dequantised by the range of the input, as ``preprocess`` with mean 0 and std 1 does it. What is
    refused is left as an operator "refused" of the declared shape, so that the rest can still be judged.

    Args:
        model: ONNX with one image input of fixed size.
        prepared: whether BatchNorm is folded and ReLUs written as clamps first, as kpufit does it.

    Raises:
        NetworkError: not exactly one image input of fixed size, or a tensor that nothing gives.
    """
    graph = Graph()
    tensors = Tensors(model, graph, prepared=prepared)
    inputs = [value for value in model.graph.input if value.name not in tensors.protos]
    if len(inputs) != 1:
        raise NetworkError(f"a kmodel from here has one image input, not {len(inputs)}", where=model.graph.name)
    shape = (1, *(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim[1:]))
    if 0 in shape:
        raise NetworkError(
            "the input's size is not fixed", where=inputs[0].name, remedy="export it with a fixed height and width"
        )
    source = Node("input", (), {})
    source.outputs.append(Value(source, shape, U8))
    source.output.place = "input"
    graph.inputs.append(source)
    tensors.values[inputs[0].name] = dequantize(graph, source.output, source.output, ())
    refused: list[Refusal] = []
    for node in model.graph.node:
        _import(tensors, node, refused)
    for value in model.graph.output:
        output = Node("output", (), {})
        given = tensors[value.name]
        given.users.append((output, 0))
        output.inputs.append(given)
        graph.outputs.append(output)
    return Imported(graph, refused, {name: value.shape for name, value in tensors.values.items()})


def _import(t: Tensors, node: onnx.NodeProto, refused: list[Refusal]) -> None:
    name = node.name or f"{node.op_type}:{node.output[0]}"
    o = Operator(name, node.op_type, tuple(node.input), tuple(node.output), attributes_of(node))
    if node.op_type == "Constant":
        given = next(iter(o.attributes.values()))
        t.made[o.outputs[0]] = (
            onnx.numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else np.asarray(given)
        )
        return
    try:
        made = IMPORTS.get(node.op_type, _unknown)(t, o)
        results = made if isinstance(made, list) else [made]
        _compare_shapes(t, o, results)
    except ImportRefused as reason:
        refused.append(Refusal(name, node.op_type, str(reason)))
        results = [_left_out(t, o, output) for output in o.outputs]
    for output, value in zip(o.outputs, results, strict=False):
        t.values[output] = value


def _compare_shapes(t: Tensors, o: Operator, results: list[Value]) -> None:
    """Refuse what nncase gives another shape than the network declares (``has shape mismatch``)."""
    for output, value in zip(o.outputs, results, strict=False):
        declared = t.declared.get(output)
        if declared is None or (len(declared) == len(value.shape) and declared[1:] == value.shape[1:]):
            continue
        raise ImportRefused(f"nncase gives it the shape {list(value.shape)}, the network {list(declared)}")


def _left_out(t: Tensors, o: Operator, output: str) -> Value:
    given = [t[name] for name in o.inputs if name and (name in t.values or t.is_constant(name))]
    shape = t.declared.get(output) or (given[0].shape if given else (1,))
    return t.graph.add("refused", given, (1, *shape[1:]), F32, o.layers)
