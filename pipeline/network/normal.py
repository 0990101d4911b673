"""The normal form of an ONNX network, whichever tool exported it; the function is the same, the writing one.

Opset 13; one input N×C×H×W with N open; only true inputs among the graph's inputs; whatever does not depend on the
image folded into constants; every pad explicit; no Identity, no Dropout; every node named, no two alike; every shape
inferred. Layers keep the names that they have in the file.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pipeline.errors import NetworkError
from pipeline.network.constants import constants_as_weights, fold_constants
from pipeline.network.native import infer, infer_open, inline
from pipeline.network.operation import passes_through, value_shapes, values_read
from pipeline.network.opset import at_least_opset_13, down_to_opset_13
from pipeline.network.pads import write_explicit_pads
from pipeline.network.screen import nodes_within, write_kernel_shapes

_NHWC_TO_NCHW = [0, 3, 1, 2]

_LARGEST_IMAGE = 1 << 28
"""Numbers in one image."""

_LARGEST_VALUE = 1 << 40
"""Numbers in one feature map; damaged files ask for more."""


def normal_form(model: onnx.ModelProto, *, where: str = "") -> onnx.ModelProto:
    """Return ``model`` in normal form; it is not changed. An already normal model is returned as it is.

    Raises:
        NetworkError: not one image input, or one without a fixed size; an operator of another vendor, or of an opset
            that has no form in opset 13; shapes that contradict each other.
    """
    return into_normal_form(copy.deepcopy(model), where=where)


def into_normal_form(model: onnx.ModelProto, *, where: str = "", weights: bool = True) -> onnx.ModelProto:
    """Return ``model``, which is used up, in normal form.

    Args:
        model: as ``read`` has checked it.
        where: the file, for messages.
        weights: whether the values of large weights matter (see ``placeholders``).

    Raises:
        NetworkError: as ``normal_form``.
    """
    name_nodes(model.graph)
    model = _onnx_alone(model, where)
    write_kernel_shapes(model.graph, where)
    _drop_weights_from_inputs(model.graph)
    _drop_unread_outputs(model.graph)
    _pass_through(model.graph, {})  # before the converter, which is slow on them
    model = at_least_opset_13(model, where)
    constants_as_weights(model.graph)
    _input_as_nchw(model.graph)
    batch = _check_input(model.graph, where)
    _set_batch(model, 1, batch)
    model = fold_constants(infer(model, where), lambda changed: infer(changed, where), weights=weights)
    model = down_to_opset_13(model, where)
    _last_axis_softmax(model.graph)
    _drop_unread_outputs(model.graph)
    _pass_through(model.graph, _kinds(model.graph))
    name_nodes(model.graph)
    model = infer(model, where)
    write_explicit_pads(model.graph, where)
    _check_sizes(model.graph, where)
    _open_batch(model.graph)
    _drop_unused(model.graph)
    return infer_open(model, where)


def as_given(model: onnx.ModelProto, *, where: str = "", weights: bool = True) -> onnx.ModelProto:
    """Return ``model``, which is used up, as a compiler is given it: its own opset and layers, batch 1, all shapes.

    Only what every reader does is done: true inputs alone among the graph's inputs, and whatever does not depend on the
    image folded into constants.

    Args:
        model: as ``read`` has checked it.
        where: the file, for messages.
        weights: whether the values of large weights matter (see ``placeholders``).

    Raises:
        NetworkError: not one image input, or one without a fixed size; an operator of another vendor; shapes that
            contradict each other.
    """
    model = _onnx_alone(model, where)
    write_kernel_shapes(model.graph, where)
    _drop_weights_from_inputs(model.graph)
    constants_as_weights(model.graph)
    _set_batch(model, 1, _check_input(model.graph, where))
    model = fold_constants(infer(model, where), lambda changed: infer(changed, where), weights=weights)
    _check_sizes(model.graph, where)
    return model


def _onnx_alone(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Write local functions out and refuse operators that are not of ONNX itself."""
    local = {(function.domain, function.name) for function in model.functions}
    _refuse_vendors(model.graph, local, where)
    if local:
        model = inline(model, where)
        del model.functions[:]
        _refuse_vendors(model.graph, set(), where)
    return model


def _refuse_vendors(graph: onnx.GraphProto, local: set[tuple[str, str]], where: str) -> None:
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in local:
            raise NetworkError(
                f"operator {node.op_type} of {node.domain} is not of ONNX itself",
                where=f"{where}: {node.name}",
                remedy="export the model without vendor operators, before it is optimised or quantised for a runtime",
            )


def _drop_weights_from_inputs(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)


def _input_as_nchw(graph: onnx.GraphProto) -> None:
    """Take an N×H×W×C input, which TensorFlow's exporters transpose at once, as N×C×H×W."""
    if len(graph.input) != 1:
        return
    image = graph.input[0]
    readers = [node for node in graph.node if image.name in node.input]
    dims = image.type.tensor_type.shape.dim
    if len(dims) != 4 or not readers or image.name in {value.name for value in graph.output}:
        return
    for node in readers:
        order = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
        if node.op_type != "Transpose" or order != [_NHWC_TO_NCHW]:
            return
    turned = [copy.deepcopy(dims[axis]) for axis in _NHWC_TO_NCHW]
    del dims[:]
    dims.extend(turned)
    for node in readers:
        node.op_type = "Identity"
        del node.attribute[:]


def _check_input(graph: onnx.GraphProto, where: str) -> int | None:
    """Return the batch that the file is fixed to, None where it is open."""
    if len(graph.input) != 1:
        listed = ", ".join(value.name for value in graph.input) or "none"
        raise NetworkError(
            f"{len(graph.input)} inputs ({listed}) instead of one image",
            where=where,
            remedy="export the part of the model that takes the image alone",
        )
    image = graph.input[0]
    kind = image.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise NetworkError(
            f"input {image.name!r} is {_kind(kind.elem_type)} instead of float32",
            where=where,
            remedy="export the float32 model, before quantisation or conversion to half precision",
        )
    dims = list(kind.shape.dim)
    if len(dims) != 4 or any(dim.dim_value < 1 for dim in dims[1:]):
        shown = (
            " × ".join(str(dim.dim_value) if dim.dim_value else " ".join(dim.dim_param.split()) or "?" for dim in dims)
            or "unknown"
        )
        raise NetworkError(
            f"input {image.name!r} has shape {shown} instead of N × channels × height × width, all but N fixed",
            where=where,
            remedy="export the model with a fixed image size (only the batch may be dynamic)",
        )
    if math.prod(dim.dim_value for dim in dims[1:]) > _LARGEST_IMAGE:
        sizes = " × ".join(str(dim.dim_value) for dim in dims[1:])
        raise NetworkError(
            f"input {image.name!r} has {sizes} numbers, more than any image",
            where=where,
            remedy="export the model with the size of your images",
        )
    return dims[0].dim_value or None


def _kind(number: int) -> str:
    names: dict[int, str] = {value: name.lower() for name, value in TensorProto.DataType.items()}
    return names.get(number, f"of the unknown type {number}")


def _set_batch(model: onnx.ModelProto, batch: int, given: int | None) -> None:
    """Fix the batch and forget all shapes that were inferred for another one."""
    graph = model.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    if given is None or given == batch:
        return
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in targets:
            values = numpy_helper.to_array(tensor).copy()
            if values.ndim == 1 and values.size and values[0] == given:
                values[0] = batch
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _drop_unread_outputs(graph: onnx.GraphProto) -> None:
    """Take off a Dropout's mask and a MaxPool's indices where nothing reads them, and inputs left out at the end."""
    read = {name for node in graph.node for name in values_read(node)} | {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type in ("Dropout", "MaxPool") and not read.intersection(node.output[1:]):
            del node.output[1:]
        while node.input and not node.input[-1]:
            del node.input[-1]


def _kinds(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the type of every value that inference has told."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    return kinds | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _pass_through(graph: onnx.GraphProto, kinds: dict[str, int]) -> None:
    """Take out Identity, Dropout and casts of float32 to float32, but for those that make an output."""
    outputs = {value.name for value in graph.output}
    asked = {node.input[2] for node in graph.node if node.op_type == "Dropout" and len(node.input) > 2}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in asked}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for reader in nodes_within([node]):
            reader.input[:] = [source.get(name, name) for name in reader.input]
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
        same = node.op_type == "Cast" and to == kinds.get(node.input[0]) == TensorProto.FLOAT
        nothing = passes_through(node, constants) or same
        if nothing and node.output[0] not in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _last_axis_softmax(graph: onnx.GraphProto) -> None:
    """Take out the Flatten and Reshape that ONNX's converter puts around an old Softmax along the last axis."""
    shapes = value_shapes(graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for flatten in [node for node in graph.node if node.op_type == "Flatten"]:
        given = shapes.get(flatten.input[0])
        axis = next((attribute.i for attribute in flatten.attribute if attribute.name == "axis"), 1)
        following = readers.get(flatten.output[0], [])
        if given is None or axis != len(given) - 1 or len(following) != 1:
            continue
        softmax = following[0]
        last = readers.get(softmax.output[0], [])
        if softmax.op_type not in ("Softmax", "LogSoftmax") or len(last) != 1 or last[0].op_type != "Reshape":
            continue
        if shapes.get(last[0].output[0]) == given:
            softmax.input[0], softmax.output[0] = flatten.input[0], last[0].output[0]
            graph.node.remove(flatten)
            graph.node.remove(last[0])


def name_nodes(graph: onnx.GraphProto) -> None:
    """Name nodes without a name by operator and number, as PyTorch's exporter did: ``Conv_0``."""
    counts: dict[str, int] = {}
    taken: set[str] = set()
    for node in graph.node:
        name = node.name
        while not name or name in taken:
            number = counts.get(node.op_type, 0)
            counts[node.op_type] = number + 1
            name = f"{node.op_type}_{number}"
        taken.add(name)
        node.name = name


def _check_sizes(graph: onnx.GraphProto, where: str) -> None:
    """Refuse feature maps that no memory holds, and those of no pixels."""
    shapes = value_shapes(graph)
    empty = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if any(dim.HasField("dim_value") and dim.dim_value < 1 for dim in value.type.tensor_type.shape.dim)
    }
    for node in graph.node:
        for name in node.output:
            shape = shapes.get(name) or ()
            if name in empty:
                raise NetworkError(
                    f"{node.op_type} makes a tensor of no numbers",
                    where=f"{where}: {node.name}",
                    remedy="give larger images, or fewer strides, pools and slices before this layer",
                )
            if math.prod(size or 1 for size in shape) > _LARGEST_VALUE:
                raise NetworkError(
                    f"{node.op_type} makes {' × '.join(str(size or '?') for size in shape)} numbers",
                    where=f"{where}: {node.name}",
                    remedy="check its settings, or export the model again",
                )


def _open_batch(graph: onnx.GraphProto) -> None:
    """Give the batch back its freedom: in the input's shape and in the constants that repeat it."""
    shapes = value_shapes(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if not node.input:
            continue
        before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
        if not before or not after or before[0] != 1 or after[0] != 1 or None in after or None in before:
            continue
        if node.op_type == "Reshape" and node.input[1] in weights:
            given = numpy_helper.to_array(weights[node.input[1]]).reshape(-1)
            if given.size and given[0] == 0 and (given[1:] > 0).all():
                continue
            target = np.asarray([0, *after[1:]], np.int64)
            node.input[1] = _constant(graph, f"{node.name}.shape", target)
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3] and len(before) == len(after):
            scales = np.asarray([int(b or 1) / int(a or 1) for a, b in zip(before, after, strict=True)], np.float32)
            if [int(np.floor(s * int(a or 1))) for s, a in zip(scales, before, strict=True)] == list(after):
                roi = node.input[1]
                node.input[:] = [node.input[0], roi, _constant(graph, f"{node.name}.scales", scales)]
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> str:  # type: ignore[type-arg]
    taken = {tensor.name for tensor in graph.initializer}
    while name in taken:
        name += "_"
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Drop nodes that no output depends on, and weights that nothing reads."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(name for name in values_read(node) if name)
    nodes = kept[::-1]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
