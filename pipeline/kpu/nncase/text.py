"""How many bytes of code a CPU operator takes in a kmodel v5 (nncase v1.9.0, src/codegen/stackvm).

A pushed integer or float is 5 bytes, a buffer's address 7, a shape of rank r 5·r + 3, a tensor operator 3 and its
immediate operands. Checked against the code of kmodels that nncase 1.9.0.20230322 wrote.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.kpu.nncase.graph import Node

_ADDRESS = 7
_NUMBER = 5


def _shape(rank: int) -> int:
    return _NUMBER * rank + 3


def text_bytes(node: Node) -> int:
    """Return the code bytes of an operator."""
    ranks = [len(value.shape) for value in node.inputs]
    out = len(node.output.shape)
    first = ranks[0]
    match node.op:
        case "dequantize" | "quantize":
            return 32 + 3 * _shape(first)
        case "conv2d":
            return 209
        case "reduce_window2d":
            return 146
        case "pad":
            return 28 + 3 * _shape(first) + 3 * _NUMBER * first + 3
        case "slice":
            return 24 + 6 * _shape(first)
        case "transpose":
            return 22 + 4 * _shape(first)
        case "binary":
            return 40 + 2 * _shape(ranks[0]) + 2 * _shape(ranks[1]) + 2 * _shape(out)
        case "resize_image":
            return 34 + 3 * _shape(first)
        case "lut1d":
            return 40 + 3 * _shape(first)
        case "softmax":
            return 29 + 3 * _shape(first)
        case "matmul":
            return 55 + 2 * _shape(ranks[0]) + 2 * _shape(ranks[1]) + _shape(out)
        case "reduce":
            return 29 + 2 * _shape(first) + _shape(out) + _shape(len(node["axes"]))
        case "copy":
            return 21 + 3 * _shape(first)
    return 40 + 2 * sum(map(_shape, ranks)) + 2 * _shape(out)


def call_text(ranks: Iterable[int]) -> int:
    """Return the code bytes of a call of a KPU function: a buffer, a type, shape and strides for each tensor."""
    return 11 + sum(7 + 5 + 2 * (_shape(rank) + 5) for rank in ranks)
