"""What an ONNX network computes without looking at the image, computed once and kept as constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pipeline.network.operation import Shape, value_shapes

_LARGEST = 1 << 27
"""Values that a folded constant may hold."""

_LARGEST_GROWN = 1 << 20
"""And one of an operator that makes much from little: beyond, a small file could ask for all memory and time."""

_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


_GROWING = ("ConstantOfShape", "Expand", "Pad", "Range", "Resize", "Tile", "Upsample")
"""Operators whose output can be far larger than their inputs: not run until shape inference has said how large."""


def fold_constants(model: onnx.ModelProto, infer: Callable[[onnx.ModelProto], onnx.ModelProto]) -> onnx.ModelProto:
    """Fold until nothing changes: nodes of constants alone, and ``Shape`` and ``Size`` of what has a fixed shape.

    Args:
        model: with its shapes inferred.
        infer: infers the shapes again after a round that changed something.
    """
    while _fold_once(model):
        del model.graph.value_info[:]
        model = infer(model)
    return model


def _fold_once(model: onnx.ModelProto) -> bool:
    graph = model.graph
    shapes = value_shapes(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[onnx.NodeProto] = []
    made: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        values = _fold(node, model, shapes, constants, made)
        if values is None:
            kept.append(node)
        else:
            made.update((name, value) for name, value in zip(node.output, values, strict=True) if name)
    if not made:
        return False
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(np.array(value, order="C"), name) for name, value in made.items())
    return True


def _fold(
    node: onnx.NodeProto,
    model: onnx.ModelProto,
    shapes: dict[str, Shape | None],
    constants: dict[str, onnx.TensorProto],
    made: dict[str, NDArray[Any]],
) -> list[NDArray[Any]] | None:
    """Return the values of a node's outputs, None where they depend on the image."""
    if node.op_type in _RANDOM or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return None
    if node.op_type in ("Shape", "Size"):
        return _shape(node, shapes.get(node.input[0]) or _made_shape(made, node.input[0]))
    if any(name and name not in constants and name not in made for name in node.input):
        return None
    for name in node.output:
        shape = shapes.get(name)
        if (shape is None or None in shape) and node.op_type in _GROWING:
            return None
        largest = _LARGEST_GROWN if node.op_type in _GROWING else _LARGEST
        if shape is not None and math.prod(size or 1 for size in shape) > largest:
            return None
    return _evaluate(node, model, {name: _value(name, constants, made) for name in node.input if name})


def _made_shape(made: dict[str, NDArray[Any]], name: str) -> Shape | None:
    return made[name].shape if name in made else None


def _value(name: str, constants: dict[str, onnx.TensorProto], made: dict[str, NDArray[Any]]) -> NDArray[Any]:
    if name not in made:
        array: NDArray[Any] = numpy_helper.to_array(constants[name])
        return array
    return made[name]


def _shape(node: onnx.NodeProto, shape: Shape | None) -> list[NDArray[Any]] | None:
    if shape is None or any(size is None for size in shape):
        return None
    if node.op_type == "Size":
        return [np.asarray(math.prod(size or 0 for size in shape), np.int64)]
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return [np.asarray(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)]


def _evaluate(
    node: onnx.NodeProto, model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]
) -> list[NDArray[Any]] | None:
    """Run one node with ONNX's reference implementation; None where that does not know it."""
    if node.op_type == "Identity":
        return [inputs[node.input[0]]]
    if node.op_type == "Constant":
        tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if tensor is not None:
            return [numpy_helper.to_array(tensor)]
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415  (0.3 s: only for files that need it)

    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    single = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        values = ReferenceEvaluator(single).run(None, inputs)
    except (NotImplementedError, RuntimeError, ValueError, TypeError, IndexError, MemoryError):
        return None
    present = iter(values)
    return [np.asarray(next(present)) if name else np.empty(0) for name in node.output]
