"""Gemm, MatMul and BatchNormalization ⇄ ``nn.Linear``, ``MatMul`` and ``nn.BatchNorm2d``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.network.modules import MatMul
from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifted, Lifter, Writer, Writing, Written, parameter, write_node


def lift_gemm(operation: Operation) -> Lifted:
    """Return the ``nn.Linear`` of ``alpha·A·B + beta·C`` with constant B and C."""
    if operation.attributes.get("transA", 0):
        raise operation.refuse("its input is transposed, which mixes the images of a batch")
    weight = operation.required(1, "weights") * np.float32(operation.attributes.get("alpha", 1.0))
    if not operation.attributes.get("transB", 0):
        weight = weight.T
    bias = operation.optional(2, "bias")
    if bias is None:
        return Lifted(linear(weight, None))
    bias = bias * np.float32(operation.attributes.get("beta", 1.0))
    if bias.size not in (1, weight.shape[0]) or (bias.ndim and bias.shape[-1] not in (1, weight.shape[0])):
        raise operation.refuse(f"a bias of shape {list(bias.shape)} differs from image to image")
    return Lifted(linear(weight, np.broadcast_to(bias.reshape(-1), weight.shape[:1])))


def lift_matmul(operation: Operation) -> Lifted:
    """Return the ``nn.Linear`` of a product with constant weights, ``MatMul`` for one of two activations."""
    weight = operation.constant(1)
    if weight is not None and weight.ndim == 2:
        return Lifted(linear(weight.T, None))
    return Lifted(MatMul(), data=(0, 1))


def linear(weight: NDArray[np.float32], bias: NDArray[np.float32] | None) -> nn.Linear:
    """Return an ``nn.Linear`` of ``weight`` (outputs × inputs) and ``bias``."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = parameter(weight)
    if bias is not None:
        layer.bias = parameter(bias)
    return layer


def lift_batchnorm(operation: Operation) -> Lifted:
    """Return the trainable ``nn.BatchNorm2d`` (``nn.BatchNorm1d`` after a fully connected layer)."""
    if operation.attributes.get("training_mode", 0):
        raise operation.refuse("it is in training mode", remedy="export the model in evaluation mode")
    if len(operation.shape()) not in (2, 3, 4):
        raise operation.refuse(f"its input has {len(operation.shape())} dimensions instead of 4")
    scale, shift, mean, variance = (
        operation.required(index, what) for index, what in enumerate(("scale", "shift", "mean", "variance"), 1)
    )
    channels = operation.shape()[1]
    if any(values.shape != (channels,) for values in (scale, shift, mean, variance)):
        raise operation.refuse(f"its statistics are not {channels} each, one a channel of its input")
    kind = nn.BatchNorm2d if len(operation.shape()) == 4 else nn.BatchNorm1d
    norm = kind(
        scale.shape[0],
        eps=float(operation.attributes.get("epsilon", 1e-5)),
        momentum=round(1.0 - float(operation.attributes.get("momentum", 0.9)), 7),
    )
    norm.weight, norm.bias = parameter(scale), parameter(shift)
    norm.running_mean = torch.from_numpy(np.array(mean, np.float32))
    norm.running_var = torch.from_numpy(np.array(variance, np.float32))
    return Lifted(norm)


def write_linear(layer_module: nn.Linear, layer: Layer) -> Written:
    """Return the Gemm of an ``nn.Linear`` on N×K, MatMul and Add for more axes."""
    writing = Writing(layer)
    bias = layer_module.bias
    if len(layer.shape) == 2:
        inputs = [layer.inputs[0], writing.weight("weight", layer_module.weight)]
        if bias is not None:
            inputs.append(writing.weight("bias", bias))
        return writing.last("Gemm", inputs, transB=1)
    weight = writing.weight("weight", layer_module.weight.T)
    if bias is None:
        return writing.last("MatMul", [layer.inputs[0], weight])
    product = writing.step("MatMul", [layer.inputs[0], weight], "matmul")
    return writing.last("Add", [product, writing.weight("bias", bias)])


def write_batchnorm(norm: nn.BatchNorm2d | nn.BatchNorm1d, layer: Layer) -> Written:
    """Return the BatchNormalization, in evaluation mode, with all four statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch normalisation without running statistics has no form in evaluation mode")
    writing = Writing(layer)
    channels = norm.num_features
    inputs = [
        layer.inputs[0],
        writing.weight("weight", norm.weight if norm.affine else np.ones(channels, np.float32)),
        writing.weight("bias", norm.bias if norm.affine else np.zeros(channels, np.float32)),
        writing.weight("running_mean", norm.running_mean),
        writing.weight("running_var", norm.running_var),
    ]
    momentum = 0.1 if norm.momentum is None else norm.momentum
    return writing.last("BatchNormalization", inputs, epsilon=norm.eps, momentum=round(1.0 - momentum, 7))


def _write_matmul(_: nn.Module, layer: Layer) -> Written:
    return write_node(layer, "MatMul")


LIFT: dict[str, Lifter] = {"Gemm": lift_gemm, "MatMul": lift_matmul, "BatchNormalization": lift_batchnorm}
WRITE: dict[type[nn.Module], Writer] = {
    nn.Linear: write_linear,
    MatMul: _write_matmul,
    nn.BatchNorm2d: write_batchnorm,
    nn.BatchNorm1d: write_batchnorm,
}
