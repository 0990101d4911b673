"""An ONNX network as nncase 1.9 imports it (kendryte/nncase v1.9.0, src/importer/onnx), a module a kind of operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from pipeline.errors import NetworkError
from pipeline.kpu.nncase.graph import F32, U8, Graph, Node, Shape, Value
from pipeline.kpu.nncase.imports import (
    activation,
    arithmetic,
    convolution,
    normalisation,
    parts,
    pooling,
    product,
    reduction,
    resize,
    shape,
    softmax,
)
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator
from pipeline.kpu.nncase.nodes import binary, dequantize
from pipeline.kpu.nncase.program import Refusal, shape_mismatch
from pipeline.kpu.nncase.tensors import Tensors, attributes_of

IMPORTS: dict[str, Import] = {
    **activation.IMPORTS,
    **arithmetic.IMPORTS,
    **convolution.IMPORTS,
    **normalisation.IMPORTS,
    **parts.IMPORTS,
    **pooling.IMPORTS,
    **product.IMPORTS,
    **reduction.IMPORTS,
    **resize.IMPORTS,
    **shape.IMPORTS,
    **softmax.IMPORTS,
}
"""What kpufit knows nncase to import (opcode.def)."""

NOT_MODELLED = frozenset({
    "And", "Compress", "ConstantOfShape", "CumSum", "DequantizeLinear", "Equal", "GRU", "GatherElements", "GatherND",
    "Greater", "GreaterOrEqual", "LSTM", "Less", "LessOrEqual", "Not", "OneHot", "QuantizeLinear", "RandomNormal",
    "RandomNormalLike", "RandomUniform", "RandomUniformLike", "ReverseSequence", "RoiAlign", "Shape", "Size", "TopK",
    "Trilu", "Where",
})  # fmt: skip
"""What nncase imports as well, but kpufit does not know what becomes of it."""


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


_ILL_FORMED = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What importers raise on attributes and ranks that no operator has: nncase crashes on such files or refuses them."""


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
    image = (1, *(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim[1:]))
    if 0 in image:
        raise NetworkError(
            "the input's size is not fixed", where=inputs[0].name, remedy="export it with a fixed height and width"
        )
    source = Node("input", (), {})
    source.outputs.append(Value(source, image, U8))
    source.output.place = "input"
    graph.inputs.append(source)
    tensors.values[inputs[0].name] = _normalised(graph, dequantize(graph, source.output, source.output, ()))
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


def _normalised(graph: Graph, image: Value) -> Value:
    """Normalise with mean 0 and std 1, as ``preprocess`` has it: nncase drops it, but not before other rewrites."""
    shape = (1, image.shape[1], *(1,) * (len(image.shape) - 2))
    centred = binary(graph, "sub", image, graph.constant(shape, value=0.0), ())
    return binary(graph, "div", centred, graph.constant(shape, value=1.0), ())


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
    except (ImportRefused, *_ILL_FORMED) as reason:
        why = str(reason) if isinstance(reason, ImportRefused) else f"an ill-formed {node.op_type}: {reason}"
        refused.append(Refusal(name, node.op_type, why))
        results = [_left_out(t, o, output) for output in o.outputs]
    for output, value in zip(o.outputs, results, strict=False):
        t.values[output] = value


def _unknown(t: Tensors, o: Operator) -> Value:
    if o.op in NOT_MODELLED:
        raise ImportRefused("nncase imports it, but kpufit does not know what becomes of it")
    raise ImportRefused(f"Not supported ONNX opcode: {o.op}")


def _compare_shapes(t: Tensors, o: Operator, results: list[Value]) -> None:
    """Refuse what nncase gives another shape than the network declares."""
    for output, value in zip(o.outputs, results, strict=False):
        declared = t.declared.get(output)
        if declared is None or (len(declared) == len(value.shape) and declared[1:] == value.shape[1:]):
            continue
        raise ImportRefused(shape_mismatch(value.shape, declared))


def _left_out(t: Tensors, o: Operator, output: str) -> Value:
    given = [t[name] for name in o.inputs if name and (name in t.values or t.is_constant(name))]
    declared = t.declared.get(output) or (given[0].shape if given else (1,))
    return t.graph.add("refused", given, (1, *declared[1:]), F32, o.layers)
