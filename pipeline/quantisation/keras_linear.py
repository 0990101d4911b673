"""The operators with weights, and sums and products, as Keras layers. (Child process only.)

A constant that is added or multiplied is taken into the layer before it: onnx2tf writes biases and scales that way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tf_keras import layers

from pipeline.quantisation.keras_graph import (
    FLAT,
    Arguments,
    Graph,
    Tensor,
    Unliftable,
    as_constant,
    as_image,
    layer_of,
)

ONE = np.ones(1, np.float32)
ZERO = np.zeros(1, np.float32)


def convolution(graph: Graph, given: Arguments) -> Tensor:
    """``tf.nn.convolution`` with constant filters (H×W×I×O) → Conv2D."""
    source, kernel = as_image(given["input"]), as_constant(given["filters"])
    if kernel.shape[2] != source.shape[-1]:
        raise Unliftable(f"grouped convolution ({source.shape[-1] // kernel.shape[2]} groups)")
    factory = partial(
        layers.Conv2D,
        kernel.shape[3],
        kernel.shape[:2],
        strides=tuple(int(s) for s in given["strides"]),
        padding=given["padding"],
        dilation_rate=tuple(int(d) for d in given["dilations"] or (1, 1)),
    )
    return graph.weighted("conv", factory, source, kernel, kernel.shape[3])


def depthwise(graph: Graph, given: Arguments) -> Tensor:
    """``tf.compat.v1.nn.depthwise_conv2d`` with a constant filter (H×W×C×1) → DepthwiseConv2D."""
    source, kernel = as_image(given["input"]), as_constant(given["filter"])
    if kernel.shape[3] != 1:
        raise Unliftable(f"depthwise convolution with multiplier {kernel.shape[3]}")
    factory = partial(
        layers.DepthwiseConv2D,
        kernel.shape[:2],
        strides=tuple(int(s) for s in given["strides"][1:3]),
        padding=given["padding"],
        dilation_rate=tuple(int(d) for d in given["rate"] or (1, 1)),
    )
    return graph.weighted("depthwise", factory, source, kernel, kernel.shape[2])


def matmul(graph: Graph, given: Arguments) -> Tensor:
    """``tf.linalg.matmul`` with a constant right side → Dense."""
    source, kernel = given["a"], as_constant(given["b"])
    if source.order != FLAT or any(given[flag] for flag in ("transpose_a", "transpose_b", "adjoint_a", "adjoint_b")):
        raise Unliftable("matrix product that is not a fully connected layer")
    return graph.weighted("dense", partial(layers.Dense, kernel.shape[1]), source, kernel, kernel.shape[1])


def add(graph: Graph, given: Arguments) -> Tensor:
    """A constant is the bias of the layer before it; two tensors are a residual sum."""
    left, right = given["x"], given["y"]
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return join(graph, "add", layers.Add, [left, right])
    tensor, constant = (left, right) if isinstance(left, Tensor) else (right, left)
    offset = tensor.array(as_constant(constant))
    return _affine(graph, tensor, ONE, offset)


def subtract(graph: Graph, given: Arguments) -> Tensor:
    """``tensor − constant``."""
    if not isinstance(given["x"], Tensor) or isinstance(given["y"], Tensor):
        raise Unliftable("difference of two activations")
    return add(graph, {"x": given["x"], "y": -as_constant(given["y"])})


def multiply(graph: Graph, given: Arguments) -> Tensor:
    """A constant scales the layer before it; two tensors are a product (swish, squeeze and excitation)."""
    left, right = given["x"], given["y"]
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return join(graph, "multiply", layers.Multiply, [left, right])
    tensor, constant = (left, right) if isinstance(left, Tensor) else (right, left)
    scale = tensor.array(as_constant(constant))
    return _affine(graph, tensor, scale, ZERO)


def _affine(graph: Graph, tensor: Tensor, scale: NDArray[np.float32], offset: NDArray[np.float32]) -> Tensor:
    """``scale · x + offset``, in the layer before where possible, else as a layer where it is the same everywhere."""
    if not np.any(scale != 1) and not np.any(offset):
        return tensor
    if graph.absorb(tensor, scale, offset):
        return tensor
    if scale.size != 1 or offset.size != 1:
        raise Unliftable(f"constants a channel that no layer can take in (after {layer_of(tensor).name})")
    factory = partial(layers.Rescaling, float(scale.reshape(())), float(offset.reshape(())))
    return graph.apply("rescale", factory, tensor.keras, order=tensor.order)


def join(graph: Graph, kind: str, factory: Callable[..., Any], parts: list[Tensor]) -> Tensor:
    """Combine two activations element by element."""
    if parts[0].order != parts[1].order:
        raise Unliftable("two activations in different layouts")
    return graph.apply(kind, factory, [part.keras for part in parts], order=parts[0].order)
