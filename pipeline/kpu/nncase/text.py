"""How many bytes of code a CPU operator takes in a kmodel v5 (nncase v1.9.0, src/codegen/stackvm).

A pushed integer or float is 5 bytes, a buffer's address 7, a shape of rank r 5·r + 3, a tensor operator 3 and its
immediate operands. Checked against the code of kmodels that nncase 1.9.0.20230322 wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.kpu.nncase.graph import Node

_NUMBER = 5


@dataclass(frozen=True)
class _Form:
    """What an operator's code is made of.

    Attributes:
        base: bytes beside shapes.
        inputs: shapes (and strides and the like) of the rank of each input.
        output: shapes of the rank of the output.
        axes: whether the reduced axes are pushed.
    """

    base: int
    inputs: tuple[int, ...] = ()
    output: int = 0
    axes: bool = False


_FORMS = {
    "binary": _Form(40, (2, 2), 2),
    "broadcast": _Form(22, (2,), 2),
    "compare": _Form(32, (2, 2), 2),
    "conv2d": _Form(209),
    "convert": _Form(22, (3,)),
    "copy": _Form(21, (3,)),
    "dequantize": _Form(32, (3,)),
    "gather": _Form(31, (2, 1), 2),
    "hardmax": _Form(24, (2,)),
    "layer_normalization": _Form(41, (1,)),
    "lut1d": _Form(40, (3,)),
    "matmul": _Form(45, (2, 2), 2),
    "pad": _Form(22, (6,)),
    "quantize": _Form(32, (3,)),
    "reduce": _Form(29, (2,), 1, axes=True),
    "reduce_arg": _Form(34, (2,), 1),
    "reduce_prod": _Form(23, (2,), 1, axes=True),
    "reduce_window2d": _Form(146),
    "resize_image": _Form(34, (3,)),
    "slice": _Form(24, (6,)),
    "softmax": _Form(29, (3,)),
    "transpose": _Form(22, (4,)),
}

_NO_EMITTER = _Form(0)


def _shape(rank: int) -> int:
    return _NUMBER * rank + 3


def text_bytes(node: Node) -> int:
    """Return the code bytes of an operator."""
    form = _FORMS.get(node.op, _NO_EMITTER)
    size = form.base + form.output * _shape(len(node.output.shape))
    size += sum(count * _shape(len(value.shape)) for count, value in zip(form.inputs, node.inputs, strict=False))
    return size + (_shape(len(node["axes"])) if form.axes else 0)


def call_text(ranks: Iterable[int]) -> int:
    """Return the code bytes of a call of a KPU function: a buffer, a type, shape and strides for each tensor."""
    return 11 + sum(7 + 5 + 2 * (_shape(rank) + 5) for rank in ranks)
