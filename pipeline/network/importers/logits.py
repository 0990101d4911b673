"""The end of an imported classifier: logits, N×classes, without the softmax that training losses and hosts apply."""

from __future__ import annotations

import copy

import onnx
from onnx import helper

from pipeline.errors import NetworkError

_NORMALISERS = ("Softmax", "LogSoftmax")


def as_logits(model: onnx.ModelProto, classes: int, *, where: str = "") -> onnx.ModelProto:
    """Return ``model`` (in normal form) with N×``classes`` logits as its one output; it is not changed.

    A softmax at the end is taken off, an N×classes×1×1 map is flattened.

    Raises:
        NetworkError: several outputs, or another number of classes.
    """
    if len(model.graph.output) != 1:
        raise NetworkError(
            f"outputs {', '.join(value.name for value in model.graph.output)} instead of one",
            where=where,
            remedy="export the classifier alone",
        )
    model = copy.deepcopy(model)
    graph = model.graph
    _drop_softmax(graph)
    model = _inferred(model)
    shape = _output_shape(model)
    if len(shape) > 2 and shape[1] == classes and all(size == 1 for size in shape[2:]):
        graph = model.graph
        given = graph.output[0].name
        graph.node.append(helper.make_node("Flatten", [given], [f"{given}_flat"], name=f"{given}_flatten", axis=1))
        _set_output(graph, f"{given}_flat")
        model = _inferred(model)
        shape = _output_shape(model)
    if len(shape) != 2 or shape[1] != classes:
        shown = " × ".join(["N", *(str(size or "?") for size in shape[1:])])
        raise NetworkError(
            f"gives {shown} numbers, the recipe has {classes} labels",
            where=where,
            remedy="list one label a class in data.labels, in the order of the network's outputs",
        )
    return model


def _drop_softmax(graph: onnx.GraphProto) -> None:
    writers = {output: node for node in graph.node for output in node.output}
    last = writers.get(graph.output[0].name)
    readers = [node for node in graph.node if last is not None and last.output[0] in node.input]
    if last is None or last.op_type not in _NORMALISERS or readers:
        return
    graph.node.remove(last)
    _set_output(graph, last.input[0])


def _set_output(graph: onnx.GraphProto, name: str) -> None:
    """Make the value ``name`` the output, its shape still to be inferred."""
    output = graph.output[0]
    output.name = name
    output.type.tensor_type.ClearField("shape")
    known = [value for value in graph.value_info if value.name != name]
    del graph.value_info[:]
    graph.value_info.extend(known)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model)


def _output_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim)
