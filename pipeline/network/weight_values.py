"""The numbers that an ONNX file holds: as many as it says, and each of them finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.errors import NetworkError
from pipeline.network.screen import EXPORT

_MAY_BE_INFINITE = ("Clip", "Max", "Min", "Pad")
"""Operators whose constants are bounds or borders, where an infinite one is meant."""


def all_tensors(graph: onnx.GraphProto, functions: Sequence[onnx.FunctionProto] = ()) -> Iterator[onnx.TensorProto]:
    """Yield every tensor: weights, and constants in attributes, also of graphs and functions inside."""
    yield from graph.initializer
    for body in (graph, *functions):
        for node in body.node:
            yield from _in_attributes(node)


def _in_attributes(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from all_tensors(inner)


def check_weights(model: onnx.ModelProto, where: str) -> None:
    """Refuse weights that are torn, NaN or infinite, naming them and the layers that read them.

    Raises:
        NetworkError: names the weight and the layers.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for tensor in model.graph.initializer:
        _check_finite(tensor.name, _values(tensor.name, tensor, where), readers.get(tensor.name, []), where)
    for node in model.graph.node:
        for tensor in _in_attributes(node):
            name = node.output[0] if node.output else tensor.name
            _check_finite(name, _values(name, tensor, where), readers.get(name, []), where)
    for function in model.functions:
        for node in function.node:
            for tensor in _in_attributes(node):
                _values(tensor.name, tensor, where)


def _values(name: str, tensor: onnx.TensorProto, where: str) -> NDArray[Any]:
    try:
        values: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise NetworkError(
            f"weight {name!r} holds other than the {list(tensor.dims)} values it should",
            where=where,
            remedy=EXPORT,
        ) from error
    return values


def _check_finite(name: str, values: NDArray[Any], used: list[onnx.NodeProto], where: str) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        return
    bound = all(node.op_type in _MAY_BE_INFINITE for node in used)
    bad = np.isnan(values) if bound else ~np.isfinite(values)
    if bad.any():
        kind = "NaN" if np.isnan(values).any() else "infinite"
        raise NetworkError(
            f"weight {name!r} holds {int(bad.sum())} {kind} of {values.size} numbers",
            where=f"{where}: {', '.join(node.name for node in used) or 'no layer'}",
            remedy="the training diverged: train again with a lower learning rate, or take an earlier checkpoint",
        )
