"""How many bytes of code a CPU operator takes in a kmodel v5 (nncase v1.9.0, src/codegen/stackvm).

A pushed integer or float is 5 bytes, a buffer's address 7, a shape of rank r 5·r + 3, a tensor operator 3 and its
immediate operands. Checked against the code of kmodels that nncase 1.9.0.20230322 wrote.
"""

from __future__ import annotations

from collections.abc import Iterable

TEXT_BYTES = {
    "dequantize": 101,
    "quantize": 101,
    "conv2d": 209,
    "reduce_window2d": 146,
    "pad": 160,
    "slice": 162,
    "transpose": 114,
    "binary": 178,
    "resize": 103,
    "lut1d": 79,
    "softmax": 68,
    "matmul": 120,
}
"""Code bytes of an operator on 4-D tensors (softmax and lut1d on 2-D ones)."""


def reduce_text(rank: int) -> int:
    """Return the code bytes of a mean over height and width, whose result has this rank."""
    return 14 + 5 + 2 * _shape_text(4) + _shape_text(rank) + _shape_text(2) + 10


def copy_text(rank: int) -> int:
    """Return the code bytes of a copy between tensors of this rank."""
    return 14 + 3 * _shape_text(rank) + 7


def call_text(ranks: Iterable[int]) -> int:
    """Return the code bytes of a call of a KPU function: a buffer, a type, shape and strides for each tensor."""
    return 11 + sum(7 + 5 + 2 * (_shape_text(rank) + 5) for rank in ranks)


def _shape_text(rank: int) -> int:
    return 5 * rank + 3
