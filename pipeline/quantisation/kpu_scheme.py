"""The KPU's quantisation as tfmot sees it. (Child process only.)

Weights: uint8, one scale an output channel, zero point 128, so a grid of ``2·max|w| / 255`` around zero. Activations:
uint8, one scale a tensor, any zero point, range widened to include 0. Both are what nncase 1.9.0 does for k210
(``quantizer::get_quant_param`` and ``fixup_range``), and what TensorFlow's fake_quant operators compute for the same
ranges: fake_quant nudges the zero point of a symmetric range from 127.5 to 128.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
from tf_keras import layers

WEIGHTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
ACTIVATIONS = (layers.ReLU, layers.LeakyReLU, layers.Activation)
RANGE_MAKERS = (*WEIGHTED, *ACTIVATIONS, layers.Add, layers.Multiply, layers.Concatenate, layers.GlobalAveragePooling2D)
_NARROWEST = 1e-6  # a range of zero width has no scale


class OutputChannelWeights(tfmot.quantization.keras.quantizers.Quantizer):  # type: ignore[misc]
    """Fake-quantises a kernel, one symmetric range an output channel, taken from the kernel as it is now."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """No variables: the range follows the weights."""
        return {}

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Return the kernel on its grid; the gradient passes through."""
        depthwise = len(inputs.shape) == 4 and inputs.shape[3] == 1 and self.depthwise
        kernel = tf.squeeze(inputs, 3) if depthwise else inputs
        largest = tf.reduce_max(tf.abs(kernel), axis=range(len(kernel.shape) - 1))
        largest = tf.stop_gradient(tf.maximum(largest, _NARROWEST))
        quantised = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -largest, largest, num_bits=8)
        return tf.expand_dims(quantised, 3) if depthwise else quantised

    def __init__(self, depthwise: bool) -> None:
        self.depthwise = depthwise

    def get_config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs."""
        return {"depthwise": self.depthwise}


class TensorRange(tfmot.quantization.keras.quantizers.Quantizer):  # type: ignore[misc]
    """Fake-quantises an activation with one range a tensor, always including 0."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Two variables, set by ``set_range`` before use."""
        return {
            end: layer.add_weight(f"{name}_{end}", initializer=tf_keras.initializers.Constant(value), trainable=False)
            for end, value in (("low", 0.0), ("high", 1.0))
        }

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Return the activation on its grid; the gradient passes through inside the range."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, weights["low"], weights["high"], num_bits=8)

    def get_config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs."""
        return {}


class KpuLayer(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[misc]
    """How one layer is quantised: its kernel if it has one, its output unless the activation behind it does that."""

    def __init__(self, kernel: str, output: bool) -> None:
        self.kernel, self.output = kernel, output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The kernel and its quantiser."""
        return [(getattr(layer, self.kernel), OutputChannelWeights("depthwise" in self.kernel))] if self.kernel else []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Let the layer compute with the quantised kernel."""
        for weights in quantize_weights:
            setattr(layer, self.kernel, weights)

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None: activations are layers of their own here."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing to set."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """The output's quantiser, if it has one."""
        return [TensorRange()] if self.output else []

    def get_config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs."""
        return {"kernel": self.kernel, "output": self.output}


def fake_quantised(model: Any) -> Any:
    """Return a copy of the lifted ``model`` whose layers are wrapped in tfmot's quantisation wrappers.

    The KPU fuses a convolution with the activation behind it, so the pair has one quantised output, the activation's.
    """
    wrappers = {layer.name: KpuLayer(_kernel(layer), _makes_range(layer)) for layer in model.layers}

    def wrap(layer: Any) -> Any:
        copy = type(layer).from_config(layer.get_config())
        config = wrappers[layer.name]
        return tfmot.quantization.keras.QuantizeWrapperV2(copy, config) if config.kernel or config.output else copy

    wrapped = tf_keras.models.clone_model(model, clone_function=wrap)
    for name, wrapper in wrapped_layers(wrapped).items():
        if wrappers[name].kernel:
            kernel, bias = model.get_layer(name).get_weights()
            wrapper._weight_vars[0][0].assign(kernel)
            wrapper.layer.bias.assign(bias)
    return wrapped


def wrapped_layers(wrapped: Any) -> dict[str, Any]:
    """The wrappers of a fake-quantised model, by the name of the layer inside."""
    return {
        layer.layer.name: layer
        for layer in wrapped.layers
        if isinstance(layer, tfmot.quantization.keras.QuantizeWrapperV2)
    }


def set_ranges(wrapped: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Set the activation ranges of a fake-quantised model, by layer name; each is widened to include 0."""
    for name, wrapper in wrapped_layers(wrapped).items():
        if wrapper.quantize_config.output:
            low, high = ranges[name]
            wrapper._output_quantizer_vars["low"].assign(min(low, 0.0))
            wrapper._output_quantizer_vars["high"].assign(max(high, min(low, 0.0) + _NARROWEST))


def range_observer(model: Any, batch: int = 64) -> Callable[[NDArray[np.float32]], dict[str, tuple[float, float]]]:
    """Return a function of inputs N×H×W×C that gives minimum and maximum of every quantised output, by layer name.

    It runs the float ``model`` with the weights that this has at the time, and counts every value, as nncase's
    ``no_clip`` calibration does.
    """
    names = [layer.name for layer in model.layers if _makes_range(layer)]
    probe = tf_keras.Model(model.input, [model.get_layer(name).output for name in names])
    extremes = tf.function(
        lambda images: [(tf.reduce_min(values), tf.reduce_max(values)) for values in tf.nest.flatten(probe(images))],
        reduce_retracing=True,
    )

    def observe(inputs: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
        seen = np.array([extremes(inputs[start : start + batch]) for start in range(0, len(inputs), batch)], np.float32)
        lows, highs = seen[:, :, 0].min(axis=0), seen[:, :, 1].max(axis=0)
        return {name: (float(low), float(high)) for name, low, high in zip(names, lows, highs, strict=True)}

    return observe


def trained_weights(wrapped: Any) -> dict[str, list[Any]]:
    """Kernel and bias of each weighted layer (``wrapper.layer.kernel`` is symbolic once the wrapper was called)."""
    return {
        name: [wrapper._weight_vars[0][0].numpy(), wrapper.layer.bias.numpy()]
        for name, wrapper in wrapped_layers(wrapped).items()
        if wrapper.quantize_config.kernel
    }


def _kernel(layer: Any) -> str:
    """The attribute that holds a layer's kernel, or ""."""
    if isinstance(layer, layers.DepthwiseConv2D):  # a subclass of Conv2D's base, so asked first
        return "depthwise_kernel"
    return "kernel" if isinstance(layer, WEIGHTED) else ""


def _makes_range(layer: Any) -> bool:
    """Whether a layer's output is a quantised tensor of its own on the KPU."""
    if not isinstance(layer, RANGE_MAKERS):
        return False
    readers = [node.layer for node in layer._outbound_nodes]
    return not (len(readers) == 1 and isinstance(readers[0], ACTIVATIONS))
