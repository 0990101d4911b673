"""What is refused before ONNX's C++ sees it: what it would end the process on, and what it would never end with.

Each check was a file of the fuzz (tests/network/fuzz_onnx.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import helper, numpy_helper

from pipeline.errors import NetworkError

EXPORT = "export the model again (torch.onnx.export, tf2onnx, …) and copy the file whole"

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "DeformConv": 1, "QLinearConv": 3}
"""With the input that holds the weights."""
_SAME_SHAPE = ("Identity", "Cast", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear")

_NUMBERS = {
    **{"CumSum": (1,), "DFT": (1, 2), "OneHot": (1,), "Range": (0, 1, 2), "STFT": (1, 3), "TopK": (1,), "Trilu": (1,)},
    **{"BlackmanWindow": (0,), "HammingWindow": (0,), "HannWindow": (0,), "MelWeightMatrix": (0, 1, 2, 3, 4)},
    "Upsample": (1,),
}
"""Inputs that hold one number (an Upsample's, one an axis), by operator."""

_LARGEST_LENGTH = 1 << 20
_NOT_OF_IMAGES = frozenset(
    {
        *("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
        *("SequenceLength", "SequenceMap", "SplitToSequence", "Optional", "OptionalGetElement", "OptionalHasElement"),
        *("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"),
    }
)
"""Operators on lists and texts. A SplitToSequence into parts of 0 ends the process."""

_MOST_NODES = 2_500
"""ONNX's converter takes time with the square of their number. DenseNet-121 has 1,746."""


def screen(model: onnx.ModelProto, where: str) -> None:
    """Refuse what ONNX's C++ must not be given.

    Raises:
        NetworkError: names the file, the layer and what is wrong with it.
    """
    _check_names(model.graph, where)
    count = 0
    if any(attribute.ref_attr_name for node in nodes_within(model.graph.node) for attribute in node.attribute):
        raise NetworkError("has settings of a function outside of one", where=where, remedy=EXPORT)
    for node in all_nodes(model):
        _check_texts(node, where)
        _check_operator(node, where)
        count += 1
    if count > _MOST_NODES:
        raise NetworkError(f"holds {count} operators, more than {_MOST_NODES}", where=where, remedy=EXPORT)
    _check_functions(model, where)


def screen_numbers(graph: onnx.GraphProto, where: str) -> None:
    """Refuse constants without a number where one is read: shape inference reads the first of none.

    Raises:
        NetworkError: names the layer and the constant.
    """
    empty = {tensor.name for tensor in graph.initializer if 0 in tensor.dims}
    for node in nodes_within(graph.node):
        if node.op_type == "Constant":
            empty.update(node.output[0] for entry in node.attribute if entry.name == "value" and 0 in entry.t.dims)
        for index in _NUMBERS.get(node.op_type, ()) if empty else ():
            if index < len(node.input) and node.input[index] in empty:
                raise NetworkError(
                    f"{node.op_type} reads a number from {node.input[index]!r}, which holds none",
                    where=f"{where}: {_layer(node)}",
                    remedy=EXPORT,
                )


def write_kernel_shapes(graph: onnx.GraphProto, where: str) -> None:
    """Write the kernel's size on convolutions without, so that shape inference compares it with their input's rank.

    It does not compare the weights' own, and reads beyond its numbers.

    Raises:
        NetworkError: the size cannot be told, as something computes the weights.
    """
    dims = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT64}
    for node in nodes_within(graph.node):
        if node.op_type == "Constant":
            dims.update((node.output[0], list(entry.t.dims)) for entry in node.attribute if entry.name == "value")
        elif node.op_type == "ConstantOfShape" and node.input[0] in shapes:
            dims[node.output[0]] = [int(size) for size in numpy_helper.to_array(shapes[node.input[0]]).reshape(-1)]
        elif node.op_type in _SAME_SHAPE and node.input and node.input[0] in dims:
            dims[node.output[0]] = dims[node.input[0]]
        elif node.op_type in _CONVOLUTIONS and all(entry.name != "kernel_shape" for entry in node.attribute):
            weight = node.input[_CONVOLUTIONS[node.op_type]]
            if weight not in dims:
                raise NetworkError(
                    f"{node.op_type} has no kernel_shape, and its weights are computed",
                    where=f"{where}: {_layer(node)}",
                    remedy="export the model with constant weights",
                )
            if len(dims[weight]) < 3:
                raise NetworkError(
                    f"weights of shape {dims[weight]} make no {node.op_type}",
                    where=f"{where}: {_layer(node)}",
                    remedy=EXPORT,
                )
            node.attribute.append(helper.make_attribute("kernel_shape", dims[weight][2:]))
            _check_operator(node, where)


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, also of graphs in attributes and of functions."""
    yield from nodes_within(model.graph.node)
    for function in model.functions:
        yield from nodes_within(function.node)


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield ``nodes`` and every node of the graphs in their attributes."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from nodes_within(graph.node)


def _layer(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else "") or node.op_type


def _check_names(graph: onnx.GraphProto, where: str) -> None:
    """Refuse names that are no text, which protobuf gives as bytes."""
    values = (*graph.input, *graph.output, *graph.value_info)
    names = [value.name for value in (*values, *graph.initializer)]
    names += [dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim]
    if any(isinstance(name, bytes) for name in names):
        raise NetworkError("holds a name that is no text: damaged", where=where, remedy=EXPORT)


def _check_texts(node: onnx.NodeProto, where: str) -> None:
    """Refuse bytes that are no text: whoever reads names and settings decodes them."""
    names = (node.op_type, node.domain, node.name, *node.input, *node.output)
    if any(isinstance(name, bytes) for name in (*names, *(attribute.name for attribute in node.attribute))):
        raise NetworkError("holds a name that is no text: damaged", where=where, remedy=EXPORT)
    for attribute in node.attribute:
        try:
            for text in (attribute.s, *attribute.strings):
                text.decode()
        except UnicodeDecodeError as error:
            raise NetworkError(
                f"{attribute.name!r} of {node.op_type} is no text: damaged",
                where=f"{where}: {_layer(node)}",
                remedy=EXPORT,
            ) from error


def _check_operator(node: onnx.NodeProto, where: str) -> None:
    """Refuse windows and groups of size 0, by which ONNX's shape inference divides, and what is no image operator."""
    if node.op_type in _NOT_OF_IMAGES:
        raise NetworkError(
            f"{node.op_type} is no operator on images",
            where=f"{where}: {_layer(node)}",
            remedy="export the part of the model that works on images",
        )
    for attribute in node.attribute:
        if attribute.name in ("strides", "dilations", "kernel_shape"):
            values = list(attribute.ints)
        elif attribute.name in ("group", "num_outputs", "blocksize", "size"):
            values = [attribute.i]
        else:
            continue
        if any(not 1 <= value < _LARGEST_LENGTH for value in values):
            raise NetworkError(
                f"{attribute.name} of {values} makes no {node.op_type}",
                where=f"{where}: {_layer(node)}",
                remedy=EXPORT,
            )


def _check_functions(model: onnx.ModelProto, where: str) -> None:
    """Refuse functions that call themselves, or that would become more layers than any network has."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def size(nodes: Iterable[onnx.NodeProto]) -> int:
        return sum(
            called((node.domain, node.op_type)) if (node.domain, node.op_type) in functions else 1
            for node in nodes_within(nodes)
        )

    def called(key: tuple[str, str]) -> int:
        if key in open_calls:
            raise NetworkError(f"function {key[1]} calls itself", where=where, remedy=EXPORT)
        if key not in sizes:
            open_calls.add(key)
            sizes[key] = size(functions[key].node)
            open_calls.remove(key)
        return sizes[key]

    if functions and size(model.graph.node) > _MOST_NODES:
        raise NetworkError(f"its functions make more than {_MOST_NODES} operators", where=where, remedy=EXPORT)
