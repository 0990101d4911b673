"""Output shapes of common ONNX operators, from attributes and input shapes alone, batch 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.errors import NetworkError

Shape = tuple[int, ...]
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]

_KEEPING = frozenset(
    {"Softmax", "LogSoftmax", "BatchNormalization", "PRelu", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Elu"}
    | {"HardSigmoid", "HardSwish", "Mish", "Softplus", "Erf", "Sqrt", "Exp", "Neg", "Abs"}
)
_BROADCASTING = frozenset({"Add", "Mul", "Sub", "Div", "Max", "Min"})


def output_shape(
    op: str, inputs: list[Shape], attributes: dict[str, Any], parameters: list[Shape], constant: Any = None
) -> Shape | None:
    """Return the shape that ``op`` gives, or None where it is not computed here.

    Args:
        op: the ONNX operator, other than convolutions and pools (see ``windowed``).
        inputs: shapes of the computed inputs.
        attributes: of the node.
        parameters: shapes of the constant inputs.
        constant: the value of the second input, where it is one (the target of a Reshape).
    """
    given = inputs[0]
    if op in _KEEPING:
        return given
    if op in _BROADCASTING:
        return tuple(int(n) for n in np.broadcast_shapes(*inputs))
    match op:
        case "GlobalAveragePool" | "GlobalMaxPool":
            return (*given[:2], *(1,) * (len(given) - 2))
        case "Gemm" if parameters:
            return (given[0], parameters[0][0 if attributes.get("transB", 0) else 1])
        case "MatMul" if parameters:
            return (*given[:-1], parameters[0][-1])
        case "Flatten":
            axis = int(attributes.get("axis", 1))
            return (math.prod(given[:axis]), math.prod(given[axis:]))
        case "Reshape" if constant is not None:
            return _reshaped(given, constant)
        case "Concat":
            axis = int(attributes["axis"]) % len(given)
            return tuple(sum(s[axis] for s in inputs) if i == axis else n for i, n in enumerate(given))
        case "ReduceMean" if "axes" in attributes:
            axes = {a % len(given) for a in attributes["axes"]}
            keep = attributes.get("keepdims", 1)
            return tuple(1 if i in axes else n for i, n in enumerate(given) if keep or i not in axes)
    return None


def pair(values: Any) -> Pair:
    """Return one or two numbers as two."""
    first, *rest = (int(v) for v in values)
    return first, rest[0] if rest else first


def pads(attributes: dict[str, Any], sides: Shape, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """Return a window's padding (top, left, bottom, right), ``auto_pad`` worked out."""
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode in (b"NOTSET", b"VALID"):
        top, left, bottom, right = (int(p) for p in attributes.get("pads", (0, 0, 0, 0)))
        return top, left, bottom, right
    needed = [
        max(0, (-(-side // s) - 1) * s + (k - 1) * d + 1 - side)
        for side, s, k, d in zip(sides, stride, kernel, dilation, strict=True)
    ]
    low, high = [n // 2 for n in needed], [n - n // 2 for n in needed]
    if mode == b"SAME_LOWER":
        low, high = high, low
    return low[0], low[1], high[0], high[1]


def windowed(
    sides: Shape, *, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair, ceil: bool, where: str
) -> Pair:
    """Return height and width after a convolution or a pool.

    Raises:
        NetworkError: the window is larger than its padded input (names ``where``).
    """
    after = []
    for i, side in enumerate(sides):
        reach = dilation[i] * (kernel[i] - 1) + 1
        room = side + padding[i] + padding[i + 2] - reach
        if room < 0:
            raise NetworkError(
                f"a window of {reach} is larger than its padded input of {side}",
                where=where,
                remedy="give larger images, or fewer strides and pools before this layer",
            )
        after.append((-(-room // stride[i]) if ceil else room // stride[i]) + 1)
    return after[0], after[1]


def _reshaped(given: Shape, target: Any) -> Shape:
    sizes = [given[i] if n == 0 else int(n) for i, n in enumerate(target)]
    if -1 in sizes:
        known = math.prod(n for n in sizes if n != -1)
        sizes[sizes.index(-1)] = math.prod(given) // max(known, 1)
    elif sizes and math.prod(sizes) != math.prod(given):
        sizes[0] = 1  # the batch of the network as exported
    return tuple(sizes)
