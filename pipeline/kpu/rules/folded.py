"""The function of one value that nncase folds into a convolution's activation table, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kpu.layers import Layer, Network
from pipeline.kpu.rules.rule import Site

Values = NDArray[np.float64]

ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"})
PASSED = frozenset({"Identity", "Dropout", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Layers over which a function of every element moves unchanged."""

_SELU_ALPHA, _SELU_GAMMA = 1.6732632423543772, 1.0507009873554805


def _sigmoid(x: Values, _: Layer) -> Values:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Values) -> Values:
    return np.logaddexp(0.0, x)


def _elu(x: Values, alpha: float) -> Values:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _hard_sigmoid(x: Values, layer: Layer) -> Values:
    return np.clip(_number(layer, "alpha", 0.2) * x + _number(layer, "beta", 0.5), 0, 1)


def _number(layer: Layer, name: str, default: float) -> float:
    return float(layer.attributes.get(name, default))


FUNCTIONS: dict[str, Callable[[Values, Layer], Values]] = {
    "Abs": lambda x, _: np.abs(x),
    "Ceil": lambda x, _: np.ceil(x),
    "Celu": lambda x, o: np.maximum(0, x) + np.minimum(0, _elu(x, _number(o, "alpha", 1.0))),
    "Cos": lambda x, _: np.cos(x),
    "Elu": lambda x, o: _elu(x, _number(o, "alpha", 1.0)),
    "Exp": lambda x, _: np.exp(x),
    "Floor": lambda x, _: np.floor(x),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, o: np.where(x > 0, x, _number(o, "alpha", 0.01) * x),
    "Log": lambda x, _: np.log(np.maximum(x, 1e-6)),
    "Mish": lambda x, _: x * np.tanh(_softplus(x)),
    "Neg": lambda x, _: -x,
    "Relu": lambda x, _: np.maximum(x, 0),
    "Round": lambda x, _: np.round(x),
    "Selu": lambda x, o: _number(o, "gamma", _SELU_GAMMA) * _elu(x, _number(o, "alpha", _SELU_ALPHA)),
    "Sigmoid": _sigmoid,
    "Sign": lambda x, _: np.sign(x),
    "Sin": lambda x, _: np.sin(x),
    "Softplus": lambda x, _: _softplus(x),
    "Softsign": lambda x, _: x / (1 + np.abs(x)),
    "Sqrt": lambda x, _: np.sqrt(np.maximum(x, 0)),
    "Tanh": lambda x, _: np.tanh(x),
    "ThresholdedRelu": lambda x, o: np.where(x > _number(o, "alpha", 1.0), x, 0),
}

ELEMENTWISE = ARITHMETIC | FUNCTIONS.keys() | {"Clip"}
_LONGEST = 12
"""Layers of the longest activation that is looked for (GELU by Tanh has nine)."""

_LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"}) | ARITHMETIC


@dataclass(frozen=True)
class Folded:
    """A function that one convolution does by its activation table.

    Attributes:
        operators: that it is made of, the clamp left out.
        low: below which the convolution itself clamps its result; −inf without a clamp.
        high: above which it does.
        values: gives it for an array.
    """

    operators: frozenset[str]
    low: float
    high: float
    values: Callable[[Values], Values]


def folded(site: Site) -> Folded | None:
    """Return the function that ends in a layer, where a convolution of the KPU does it; None where it is not known."""
    if site.layer.op not in ELEMENTWISE or site.predicted.unit != "kpu" or not is_last(site):
        return None
    return function_up_to(site, PASSED | {"Pad", "Slice"})


def function_up_to(site: Site, passed: frozenset[str]) -> Folded | None:
    """Return the function from the last layer before, that is neither elementwise nor ``passed``, to this one."""
    source = _Source(site, passed)
    output = site.layer.outputs[0]
    root = source.of(output)
    if root == output and not source.is_clamp(site.layer):
        return None
    low, high = -np.inf, np.inf
    producer = site.network.producers.get(root)
    if producer is not None and source.is_clamp(producer):
        low, high = bounds(site.network, producer)
    operators: set[str] = set()
    try:
        source.values(output, root, np.zeros(1), operators)
    except _UnknownFunction:
        return None

    def values(x: Values) -> Values:
        with np.errstate(all="ignore"):
            return source.values(output, root, np.clip(x, low, high), set())

    return Folded(frozenset(operators), low, high, values)


def bounds(network: Network, layer: Layer) -> tuple[float, float]:
    """Return the ends of a Clip or a Relu; infinite where there is none or it is not a constant."""
    if layer.op == "Relu":
        return 0.0, np.inf
    ends = []
    for index, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = scalar(network, layer.inputs[index]) if index < len(layer.inputs) and layer.inputs[index] else None
        ends.append(float(layer.attributes.get(name, default)) if given is None else given)
    return ends[0], ends[1]


def scalar(network: Network, tensor: str) -> float | None:
    """Return the number of a constant that has only one."""
    shape = network.constants.get(tensor)
    if shape is None or int(np.prod(shape)) != 1:
        return None
    array = network.array(tensor)
    return None if array is None else float(array.reshape(-1)[0])


def is_last(site: Site) -> bool:
    """Whether no function follows that the same convolution would do as well."""
    return not any(reader.op in FUNCTIONS or _with_numbers(site.network, reader) for reader in _readers(site))


def _readers(site: Site) -> tuple[Layer, ...]:
    return site.network.after(site.layer)


def _with_numbers(network: Network, layer: Layer) -> bool:
    """Whether a layer is arithmetic with a number, or joins two functions of one value."""
    if layer.op == "Clip":
        return True
    if layer.op not in ARITHMETIC:
        return False
    computed = [name for name in layer.inputs if name not in network.constants]
    if len(computed) < len(layer.inputs):
        return all(scalar(network, name) is not None for name in layer.inputs if name in network.constants)
    first, *rest = (_trace(network, name) for name in computed)
    return all(first & other for other in rest)


def _trace(network: Network, tensor: str) -> frozenset[str]:
    """Return a tensor and those that functions make it of, a few steps back."""
    found, at = {tensor}, tensor
    for _ in range(_LONGEST):
        producer = network.producers.get(at)
        if producer is None or producer.op not in ELEMENTWISE:
            break
        at = next((name for name in producer.inputs if name and name not in network.constants), at)
        found.add(at)
    return frozenset(found)


class _UnknownFunction(Exception):  # noqa: N818  (an answer, not an error)
    """Raised where a layer's numbers are not known."""


class _Source:
    """What a tensor is a function of."""

    def __init__(self, site: Site, passed: frozenset[str]) -> None:
        self.network = site.network
        self.raw = site.raw
        self.passed = passed
        self._known: dict[str, str] = {}

    def is_clamp(self, layer: Layer) -> bool:
        """Whether a layer clamps the result of a convolution, within the convolution."""
        if layer.op != "Clip" and (self.raw or layer.op != "Relu"):
            return False
        before = self.network.producers.get(self._skip(layer.inputs[0]))
        return before is not None and before.op in _LINEAR and self.of(before.outputs[0]) == before.outputs[0]

    def _skip(self, tensor: str) -> str:
        producer = self.network.producers.get(tensor)
        while producer is not None and producer.op in self.passed:
            tensor = producer.inputs[0]
            producer = self.network.producers.get(tensor)
        return tensor

    def of(self, tensor: str) -> str:
        """Return the tensor that this one is a function of, itself if of none."""
        if tensor not in self._known:
            self._known[tensor] = tensor  # a cycle ends here
            self._known[tensor] = self._of(tensor)
        return self._known[tensor]

    def _of(self, tensor: str) -> str:
        layer = self.network.producers.get(tensor)
        if layer is None:
            return tensor
        if layer.op in self.passed:
            return self.of(layer.inputs[0])
        if layer.op not in ELEMENTWISE or self.is_clamp(layer):
            return tensor
        if layer.op == "Clip" or layer.op in FUNCTIONS:
            return self.of(layer.inputs[0])
        roots = set()
        for name in layer.inputs:
            if name not in self.network.constants:
                roots.add(self.of(name))
            elif int(np.prod(self.network.constants[name])) != 1:
                return tensor  # a number a channel: the convolution's own
        return roots.pop() if len(roots) == 1 else tensor

    def values(self, tensor: str, root: str, x: Values, operators: set[str]) -> Values:
        """Return a tensor for given values of the root, and note the operators between."""
        return self._values(tensor, root, {root: x}, operators)

    def _values(self, tensor: str, root: str, found: dict[str, Values], operators: set[str]) -> Values:
        """Compute each tensor once: a chain of x + x would else be walked 2ⁿ times."""
        if tensor not in found:
            found[tensor] = self._computed(tensor, root, found, operators)
        return found[tensor]

    def _computed(self, tensor: str, root: str, found: dict[str, Values], operators: set[str]) -> Values:
        layer = self.network.producers.get(tensor)
        if layer is None:
            known = scalar(self.network, tensor)
            if known is None:
                raise _UnknownFunction
            return np.full_like(found[root], known)
        if layer.op in self.passed:
            return self._values(layer.inputs[0], root, found, operators)
        operators.add(layer.op)
        if layer.op == "Clip":
            return np.clip(self._values(layer.inputs[0], root, found, operators), *bounds(self.network, layer))
        if layer.op in FUNCTIONS:
            return FUNCTIONS[layer.op](self._values(layer.inputs[0], root, found, operators), layer)
        if layer.op not in ARITHMETIC:
            raise _UnknownFunction
        given = [self._values(name, root, found, operators) for name in layer.inputs]
        result = given[0]
        for other in given[1:]:
            result = _BINARY[layer.op](result, other)
        return result


_BINARY: dict[str, Any] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
    "Sum": np.add,
}
