"""Activations ⇄ their ``nn`` modules.

``Relu`` and ``Clip(0, none)`` are the same function but not the same to nncase 1.9, which moves slices past a ``Clip``
and not past a ``Relu``: ``nn.ReLU`` is written as ``Relu``, ``nn.Hardtanh(0, inf)`` as ``Clip(0,)``. What opset 13 has
no operator for (hard-swish, SiLU, GELU, Mish) is written as the operators it is made of.
"""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from pipeline.network.modules import HardSigmoid, Pointwise
from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifter, Writer, Writing, Written, parameter, write_node


def lift_clip(operation: Operation) -> nn.Module:
    """Return ``nn.ReLU6`` for 0…6, ``nn.Hardtanh`` for all other bounds (infinite where there is none)."""
    bounds = []
    for index, (what, none) in enumerate((("minimum", -math.inf), ("maximum", math.inf)), 1):
        value = operation.optional(index, what)
        bounds.append(none if value is None else _bound(float(value.reshape(-1)[0])))
    if bounds == [0.0, 6.0]:
        return nn.ReLU6()
    if not bounds[0] < bounds[1]:
        raise operation.refuse(f"its minimum {bounds[0]:g} is not below its maximum {bounds[1]:g}")
    return nn.Hardtanh(bounds[0], bounds[1])


def _bound(value: float) -> float:
    """Return the bound; ± the largest float32 is how exporters write that there is none."""
    return math.copysign(math.inf, value) if abs(value) >= float(np.finfo(np.float32).max) else value


def lift_prelu(operation: Operation) -> nn.Module:
    """Return the ``nn.PReLU`` of one slope, or one a channel."""
    slope = operation.required(1, "slope")
    axes = operation.shape()
    channels = axes[1] if len(axes) > 1 else 1
    a_channel = slope.ndim >= len(axes) - 1 and slope.shape[slope.ndim - len(axes) + 1] == channels
    if slope.size != 1 and not (a_channel and slope.size == channels):
        raise operation.refuse(f"a slope of shape {list(slope.shape)} is neither one nor one a channel")
    layer = nn.PReLU(slope.size)
    layer.weight = parameter(slope.reshape(-1))
    return layer


def lift_hard_sigmoid(operation: Operation) -> nn.Module:
    """Return ``nn.Hardsigmoid`` for its slope of 1/6, ``HardSigmoid`` for others."""
    alpha = float(operation.attributes.get("alpha", 0.2))
    beta = float(operation.attributes.get("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return nn.Hardsigmoid()
    return HardSigmoid(alpha, beta)


def lift_softmax(operation: Operation) -> nn.Module:
    """Return the ``nn.Softmax`` (or ``nn.LogSoftmax``) along one axis."""
    axis = operation.axis(operation.attributes.get("axis", -1))
    return nn.Softmax(axis) if operation.op == "Softmax" else nn.LogSoftmax(axis)


def lift_gelu(operation: Operation) -> nn.Module:
    """Return the ``nn.GELU``."""
    return nn.GELU(str(operation.attributes.get("approximate", "none")))


def _write_hardtanh(layer_module: nn.Hardtanh, layer: Layer) -> Written:
    writing = Writing(layer)
    inputs = [layer.inputs[0], ""]
    if layer_module.min_val > -math.inf:
        inputs[1] = writing.scalar("min", layer_module.min_val)
    if layer_module.max_val < math.inf:
        inputs.append(writing.scalar("max", layer_module.max_val))
    return writing.last("Clip", inputs)


def _write_prelu(prelu: nn.PReLU, layer: Layer) -> Written:
    writing = Writing(layer)
    slope = prelu.weight.detach().reshape(-1, *[1] * (len(layer.shape) - 2))
    return writing.last("PRelu", [layer.inputs[0], writing.weight("weight", slope)])


def _write_hard_sigmoid(layer_module: HardSigmoid, layer: Layer) -> Written:
    return write_node(layer, "HardSigmoid", alpha=layer_module.alpha, beta=layer_module.beta)


def _write_elu(elu: nn.ELU, layer: Layer) -> Written:
    return write_node(layer, "Elu", alpha=float(elu.alpha))


def _write_leaky(leaky: nn.LeakyReLU, layer: Layer) -> Written:
    return write_node(layer, "LeakyRelu", alpha=float(leaky.negative_slope))


def _write_softmax(softmax: nn.Softmax | nn.LogSoftmax, layer: Layer) -> Written:
    axis = 1 if softmax.dim is None else softmax.dim
    return write_node(layer, "Softmax" if isinstance(softmax, nn.Softmax) else "LogSoftmax", axis=axis)


def _write_softplus(softplus: nn.Softplus, layer: Layer) -> Written:
    if softplus.beta != 1:
        raise ValueError("nn.Softplus with a beta other than 1 has no operator in ONNX")
    return write_node(layer, "Softplus")


def _write_pointwise(layer_module: Pointwise, layer: Layer) -> Written:
    return write_node(layer, layer_module.function)


def _write_silu(_: nn.Module, layer: Layer) -> Written:
    writing, x = Writing(layer), layer.inputs[0]
    return writing.last("Mul", [x, writing.step("Sigmoid", [x], "gate")])


def _write_hardswish(_: nn.Module, layer: Layer) -> Written:
    writing, x = Writing(layer), layer.inputs[0]
    return writing.last("Mul", [x, writing.step("HardSigmoid", [x], "gate", alpha=1 / 6, beta=0.5)])


def _write_mish(_: nn.Module, layer: Layer) -> Written:
    writing, x = Writing(layer), layer.inputs[0]
    return writing.last("Mul", [x, writing.step("Tanh", [writing.step("Softplus", [x], "softplus")], "gate")])


def _write_gelu(gelu: nn.GELU, layer: Layer) -> Written:
    """``x·½(1 + erf(x/√2))``, or with tanh: ``x·½(1 + tanh(√(2/π)·(x + 0.044715·x³)))``."""
    writing, x = Writing(layer), layer.inputs[0]
    if gelu.approximate == "tanh":
        cube = writing.step("Mul", [writing.step("Mul", [x, x], "square"), x], "cube")
        scaled = writing.step("Mul", [cube, writing.scalar("cubic", 0.044715)], "cubic_term")
        inner = writing.step("Add", [x, scaled], "sum")
        inner = writing.step("Mul", [inner, writing.scalar("scale", math.sqrt(2 / math.pi))], "scaled")
        bend = writing.step("Tanh", [inner], "tanh")
    else:
        bend = writing.step("Erf", [writing.step("Div", [x, writing.scalar("root", math.sqrt(2))], "scaled")], "erf")
    gate = writing.step("Add", [bend, writing.scalar("one", 1.0)], "shifted")
    return writing.last("Mul", [writing.step("Mul", [x, gate], "gated"), writing.scalar("half", 0.5)])


def _plain(op: str) -> Writer:
    return lambda _, layer: write_node(layer, op)


LIFT: dict[str, Lifter] = {
    "Relu": lambda _: nn.ReLU(),
    "Clip": lift_clip,
    "LeakyRelu": lambda operation: nn.LeakyReLU(float(operation.attributes.get("alpha", 0.01))),
    "PRelu": lift_prelu,
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Tanh": lambda _: nn.Tanh(),
    "HardSigmoid": lift_hard_sigmoid,
    "HardSwish": lambda _: nn.Hardswish(),
    "Mish": lambda _: nn.Mish(),
    "Gelu": lift_gelu,
    "Elu": lambda operation: nn.ELU(float(operation.attributes.get("alpha", 1.0))),
    "Softplus": lambda _: nn.Softplus(),
    "Softsign": lambda _: nn.Softsign(),
    "Softmax": lift_softmax,
    "LogSoftmax": lift_softmax,
    **{name: lambda operation: Pointwise(operation.op) for name in Pointwise.FUNCTIONS},
}
WRITE: dict[type[nn.Module], Writer] = {
    nn.ReLU: _plain("Relu"),
    nn.ReLU6: _write_hardtanh,
    nn.Hardtanh: _write_hardtanh,
    nn.LeakyReLU: _write_leaky,
    nn.PReLU: _write_prelu,
    nn.Sigmoid: _plain("Sigmoid"),
    nn.Tanh: _plain("Tanh"),
    nn.Hardsigmoid: lambda _, layer: write_node(layer, "HardSigmoid", alpha=1 / 6, beta=0.5),
    HardSigmoid: _write_hard_sigmoid,
    nn.Hardswish: _write_hardswish,
    nn.SiLU: _write_silu,
    nn.Mish: _write_mish,
    nn.GELU: _write_gelu,
    nn.ELU: _write_elu,
    nn.Softplus: _write_softplus,
    nn.Softsign: _plain("Softsign"),
    nn.Softmax: _write_softmax,
    nn.LogSoftmax: _write_softmax,
    Pointwise: _write_pointwise,
}
