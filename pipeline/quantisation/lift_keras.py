"""onnx2tf's network of bare TensorFlow operators, lifted to Keras layers that tfmot can wrap. (Child process only.)

onnx2tf writes ``TFOpLambda`` layers with constant weights, which cannot be trained; here each becomes an ordinary Keras
layer (Conv2D, DepthwiseConv2D, Dense, …) with the same weights; transposes, casts and multiplications by one vanish.
"""

from __future__ import annotations

import inspect
from collections.abc import Container
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.errors import NetworkError
from pipeline.quantisation.keras_graph import NHWC, Graph, Tensor, Unliftable, refuse
from pipeline.quantisation.keras_operators import OPERATORS

_Key = tuple[int, int, int]


def lift(converted: Any, names: Container[str] = ()) -> Any:
    """Return a Keras model with the function of ``converted``.

    Args:
        converted: a ``tf_keras.Model`` from onnx2tf.
        names: of the ONNX nodes, which onnx2tf gives to some of its operators.

    Raises:
        NetworkError: an operator that has no layer; names it, and the last ONNX layer known before it.
    """
    if len(converted.inputs) != 1 or len(converted.outputs) != 1:
        raise refuse(
            "network", f"{len(converted.inputs)} inputs and {len(converted.outputs)} outputs; one of each wanted"
        )
    image = converted.inputs[0]
    if len(image.shape) != 4:
        raise refuse("network", f"an input of {len(image.shape)} axes is not an image")
    source = Tensor(tf_keras.Input(tuple(image.shape[1:]), name="image"), NHWC)
    known: dict[_Key, Tensor] = {_key(image): source}
    graph = Graph()
    readers = _count_readers(converted)
    where = "behind the input"
    for node in _nodes(converted):
        layer = node.layer
        if isinstance(layer, tf_keras.layers.InputLayer):
            continue
        symbol = getattr(layer, "symbol", type(layer).__name__)
        if node.call_kwargs.get("name") in names:
            where = node.call_kwargs["name"]
        try:
            if symbol not in OPERATORS:
                raise Unliftable("has no layer here")
            result = OPERATORS[symbol](graph, _arguments(layer, node, known))
        except Unliftable as error:
            raise refuse(where, f"operator {symbol} cannot be carried into Keras layers: {error}") from error
        where = where if where.startswith("behind ") else f"behind {where}"
        if readers.get(_key(node.outputs), 0) > 1:
            graph.shared.add(result.keras.node.layer.name)
        known[_key(node.outputs)] = result
    return graph.model(source, known[_key(converted.outputs[0])])


def check_equal(
    expected: np.ndarray[Any, np.dtype[np.float32]], seen: np.ndarray[Any, np.dtype[np.float32]], step: str
) -> float:
    """Return the largest difference relative to the largest expected value, at least 1.

    Raises:
        NetworkError: it exceeds 1e-4.
    """
    scale = max(1.0, float(np.abs(expected).max()))
    error = (
        float(np.abs(expected - seen.reshape(expected.shape)).max()) / scale if expected.size == seen.size else np.inf
    )
    if not error <= 1e-4:
        raise NetworkError(
            f"computes something else after {step}: outputs differ by {error:.2g} of their range (limit 1e-4)",
            where="network",
            remedy="please report the network: a conversion that changes the function is a fault of this program",
        )
    return error


def _nodes(model: Any) -> list[Any]:
    """Every call of a layer, inputs first."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


def _count_readers(model: Any) -> dict[_Key, int]:
    counts = {_key(model.outputs[0]): 1}
    for node in _nodes(model):
        for tensor in node.keras_inputs:
            counts[_key(tensor)] = counts.get(_key(tensor), 0) + 1
    return counts


def _key(tensor: Any) -> _Key:
    history = tensor._keras_history
    return id(history.layer), int(history.node_index), int(history.tensor_index)


def _arguments(layer: Any, node: Any, known: dict[_Key, Tensor]) -> dict[str, Any]:
    """The operator's arguments by name, defaults filled in, tensors as ``Tensor`` and constants as arrays."""
    function = layer.function if hasattr(layer, "function") else layer.call
    bound = inspect.signature(function).bind(*node.call_args, **node.call_kwargs)
    bound.apply_defaults()

    def resolve(value: Any) -> Any:
        if hasattr(value, "_keras_history"):
            return known[_key(value)]
        if tf.is_tensor(value):
            return value.numpy()
        if isinstance(value, list | tuple):
            return [resolve(part) for part in value]
        return value

    return {name: resolve(value) for name, value in bound.arguments.items()}
