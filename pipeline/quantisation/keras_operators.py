"""How each TensorFlow operator that onnx2tf writes becomes a Keras layer. (Child process only.)

``OPERATORS`` maps the operator's symbol to a function of the graph so far and the operator's arguments by name, where
tensors are ``Tensor`` and constants are arrays. A function raises ``Unliftable`` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline.quantisation.keras_graph import (
    FLAT,
    NHWC,
    Arguments,
    Graph,
    Tensor,
    Unliftable,
    as_image,
    as_scalar,
    layer_of,
)
from pipeline.quantisation.keras_linear import add, convolution, depthwise, matmul, multiply, subtract


@tf_keras.utils.register_keras_serializable("kpufit")
class Clip(layers.Layer):  # type: ignore[misc]
    """``min(max(x, low), high)``."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, inputs: Any) -> Any:
        """Return the clipped tensor."""
        return tf_keras.backend.clip(inputs, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def minimum(graph: Graph, given: Arguments) -> Tensor:
    """``min(x, constant)``."""
    tensor, bound = _tensor_and_scalar(given)
    return _clip(graph, tensor, -np.inf, bound)


def maximum(graph: Graph, given: Arguments) -> Tensor:
    """``max(x, constant)``."""
    tensor, bound = _tensor_and_scalar(given)
    return _clip(graph, tensor, bound, np.inf)


def clip(graph: Graph, given: Arguments) -> Tensor:
    """``tf.clip_by_value``."""
    return _clip(graph, given["t"], as_scalar(given["clip_value_min"]), as_scalar(given["clip_value_max"]))


def relu(graph: Graph, given: Arguments, *, most: float | None = None) -> Tensor:
    """``tf.nn.relu`` and ``relu6``."""
    source: Tensor = given["features"]
    return graph.apply("relu", partial(layers.ReLU, max_value=most), source.keras, order=source.order)


def leaky_relu(graph: Graph, given: Arguments) -> Tensor:
    """``tf.nn.leaky_relu``."""
    source: Tensor = given["features"]
    factory = partial(layers.LeakyReLU, alpha=float(given["alpha"]))
    return graph.apply("leaky_relu", factory, source.keras, order=source.order)


def activation(graph: Graph, given: Arguments, *, function: str) -> Tensor:
    """A function of one number that Keras knows by name."""
    source: Tensor = next(value for value in given.values() if isinstance(value, Tensor))
    return graph.apply(function, partial(layers.Activation, function), source.keras, order=source.order)


def softmax(graph: Graph, given: Arguments) -> Tensor:
    """``tf.nn.softmax`` over the channels."""
    source: Tensor = given["logits"]
    axis = -1 if given["axis"] is None else int(given["axis"])
    if source.axis(axis) != len(source.order) - 1:
        raise Unliftable("softmax over an axis other than the channels")
    return graph.apply("softmax", layers.Softmax, source.keras, order=source.order)


def pad(graph: Graph, given: Arguments) -> Tensor:
    """Zero padding of height and width → ZeroPadding2D (nncase folds it into a VALID convolution)."""
    source = as_image(given["tensor"], any_order=True)
    theirs = np.asarray(given["paddings"])
    ours = [tuple(int(p) for p in theirs[source.order.index(axis)]) for axis in range(4)]
    if not theirs.any():
        return source
    fill = np.asarray(given["constant_values"])
    lowest = bool(np.all(fill <= np.finfo(np.float32).min)) and _is_never_negative(source)  # a max pool's padding
    if str(given["mode"]).upper() != "CONSTANT" or (np.any(fill) and not lowest):
        raise Unliftable("padding with anything but zeros")
    if any(ours[0]) or any(ours[3]):
        raise Unliftable("padding of the batch or of channels")
    return graph.apply("pad", partial(layers.ZeroPadding2D, (ours[1], ours[2])), source.keras, order=source.order)


def max_pool(graph: Graph, given: Arguments) -> Tensor:
    """``tf.nn.max_pool2d`` → MaxPooling2D."""
    return _pool(graph, layers.MaxPooling2D, as_image(given["input"]), given)


def average_pool(graph: Graph, given: Arguments) -> Tensor:
    """``tf.compat.v1.nn.avg_pool`` → AveragePooling2D; over the whole image → GlobalAveragePooling2D."""
    source = as_image(given["value"])
    if tuple(int(size) for size in given["ksize"][1:3]) == source.shape[:2] and given["padding"] == "VALID":
        return _global_average(graph, source, keep=True)
    return _pool(graph, layers.AveragePooling2D, source, given)


def reduce_mean(graph: Graph, given: Arguments) -> Tensor:
    """The mean over height and width → GlobalAveragePooling2D."""
    source = as_image(given["input_tensor"], any_order=True)
    axes = {source.axis(int(axis)) for axis in np.atleast_1d(given["axis"])}
    if axes != {1, 2}:
        raise Unliftable("mean over axes other than height and width")
    return _global_average(graph, source, keep=bool(given["keepdims"]))


def transpose(graph: Graph, given: Arguments) -> Tensor:
    """A change of layout, which only the tag records."""
    source: Tensor = given["a"]
    permutation = [int(axis) for axis in np.asarray(given["perm"]).reshape(-1)]
    return Tensor(source.keras, tuple(source.axis(axis) for axis in permutation))


def flatten(graph: Graph, given: Arguments) -> Tensor:
    """``tf.reshape`` to N×everything, in the order of axes that onnx2tf sees; a reshape to the same shape vanishes."""
    source: Tensor = given["tensor"] if "tensor" in given else given["inputs"]
    shape = [int(size) for size in np.asarray(given.get("shape", (-1, 0))).reshape(-1)]
    count = int(np.prod(source.shape))
    if len(shape) != 2 or shape[1] not in (-1, 0, count) or source.order[0] != 0:
        raise Unliftable("reshape to anything but N×everything")
    if source.order == FLAT:
        return source
    flat = source.keras
    if source.order != NHWC and source.shape[:2] != (1, 1):
        flat = layers.Permute(source.order[1:], name=graph.name("permute"))(flat)
    return graph.apply("flatten", layers.Flatten, flat, order=FLAT)


def cast(graph: Graph, given: Arguments) -> Tensor:
    """``tf.cast`` to float32, which everything is already."""
    source: Tensor = given["x"]
    if getattr(given["dtype"], "name", given["dtype"]) != "float32":
        raise Unliftable(f"cast to {given['dtype']}")
    return source


def concat(graph: Graph, given: Arguments) -> Tensor:
    """``tf.concat`` of tensors in one layout."""
    parts: list[Tensor] = list(given["values"])
    if not all(isinstance(part, Tensor) and part.order == parts[0].order for part in parts):
        raise Unliftable("concatenation with a constant or of tensors in different layouts")
    factory = partial(layers.Concatenate, axis=parts[0].axis(int(given["axis"])))
    return graph.apply("concat", factory, [part.keras for part in parts], order=parts[0].order)


def nearest(graph: Graph, given: Arguments) -> Tensor:
    """Nearest-neighbour resize by a whole factor → UpSampling2D."""
    source = as_image(given["images"])
    wanted = [int(size) for size in np.asarray(given["size"]).reshape(-1)]
    if any(large % small for large, small in zip(wanted, source.shape[:2], strict=True)) or given["align_corners"]:
        raise Unliftable("resize by anything but a whole factor")
    factor = tuple(large // small for large, small in zip(wanted, source.shape[:2], strict=True))
    return graph.apply("resize", partial(layers.UpSampling2D, factor), source.keras, order=source.order)


OPERATORS: dict[str, Callable[[Graph, Arguments], Tensor]] = {
    "nn.convolution": convolution,
    "compat.v1.nn.depthwise_conv2d": depthwise,
    "linalg.matmul": matmul,
    "math.add": add,
    "__operators__.add": add,
    "math.subtract": subtract,
    "math.multiply": multiply,
    "math.minimum": minimum,
    "math.maximum": maximum,
    "clip_by_value": clip,
    "nn.relu": relu,
    "nn.relu6": partial(relu, most=6.0),
    "nn.leaky_relu": leaky_relu,
    "nn.elu": partial(activation, function="elu"),
    "math.sigmoid": partial(activation, function="sigmoid"),
    "math.tanh": partial(activation, function="tanh"),
    "math.softplus": partial(activation, function="softplus"),
    "nn.softmax": softmax,
    "compat.v1.pad": pad,
    "nn.max_pool2d": max_pool,
    "compat.v1.nn.avg_pool": average_pool,
    "math.reduce_mean": reduce_mean,
    "compat.v1.transpose": transpose,
    "reshape": flatten,
    "Flatten": flatten,
    "cast": cast,
    "concat": concat,
    "compat.v1.image.resize_nearest_neighbor": nearest,
}


def _clip(graph: Graph, tensor: Tensor, low: float, high: float) -> Tensor:
    if low == 0:
        factory = partial(layers.ReLU, max_value=None if np.isinf(high) else high)
        return graph.apply("relu", factory, tensor.keras, order=tensor.order)
    return graph.apply("clip", partial(Clip, low, high), tensor.keras, order=tensor.order)


def _global_average(graph: Graph, source: Tensor, *, keep: bool) -> Tensor:
    factory = partial(layers.GlobalAveragePooling2D, keepdims=keep)
    return graph.apply("global_average", factory, source.keras, order=source.order if keep else FLAT)


def _pool(graph: Graph, factory: Callable[..., Any], source: Tensor, given: Arguments) -> Tensor:
    sizes = [tuple(int(size) for size in given[key][1:3]) for key in ("ksize", "strides")]
    kind = "max_pool" if factory is layers.MaxPooling2D else "average_pool"
    pool = partial(factory, sizes[0], strides=sizes[1], padding=given["padding"])
    return graph.apply(kind, pool, source.keras, order=source.order)


def _is_never_negative(tensor: Tensor) -> bool:
    """Whether zeros around ``tensor`` cannot win a maximum that lowest values would lose."""
    return isinstance(layer_of(tensor), layers.ReLU)


def _tensor_and_scalar(given: Arguments) -> tuple[Tensor, float]:
    left, right = given["x"], given["y"]
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        raise Unliftable("minimum or maximum of two activations")
    return (left, as_scalar(right)) if isinstance(left, Tensor) else (right, as_scalar(left))
