"""From decoded stack machine statements to steps.

The operands' order is that of nncase v1.9.0 src/codegen/stackvm/ops/*.cpp (what is pushed) and
src/runtime/stackvm/ops/tensor.*.cpp (what is popped, last first).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pipeline.kmodel.memory import DType, Range
from pipeline.kmodel.stackvm import Address, Statement
from pipeline.kmodel.stackvm_operands import Operands, Place
from pipeline.kmodel.steps import (
    Binary,
    Conv2d,
    Convert,
    Copy,
    Dequantise,
    Logistic,
    Lookup,
    MatMul,
    Pad,
    Quantise,
    Reduce,
    ReduceWindow,
    Resize,
    Slice,
    Softmax,
    Step,
    Transpose,
    Unary,
    Unknown,
)

BINARY_OPS: Final = ("add", "sub", "mul", "div", "min", "max", "pow", "logical_and", "logical_or", "logical_xor")
UNARY_OPS: Final = (
    "abs", "acos", "asin", "ceil", "cos", "exp", "floor", "log", "logical_not", "neg", "round", "rsqrt", "sign",
    "sin", "sqrt", "square", "tanh", "bitwise_not", "erf",
)  # fmt: skip


def _binary(t: Operands) -> Step:
    t.expect(3)
    has_shape = len(t.fields) == 10
    dtype, a_shape, b_shape = t.dtype(0), t.shape(1), t.shape(3)
    rank = max(len(a_shape), len(b_shape))
    pairs = zip((1,) * (rank - len(a_shape)) + a_shape, (1,) * (rank - len(b_shape)) + b_shape, strict=True)
    out_shape = t.shape(5) if has_shape else tuple(max(pair) for pair in pairs)
    op, clamp = t.name(-3, BINARY_OPS), (t.fields[-2], t.fields[-1])
    a, b = t.at(0, dtype, a_shape, t.shape(2)), t.at(1, dtype, b_shape, t.shape(4))
    return Binary(op, a, b, t.at(2, dtype, out_shape, t.shape(6 if has_shape else 5)), clamp)


def _window_padding(t: Operands, first: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Read the paddings pushed last: (before, after) of h and w, or (before, after, interior) since 1.6."""
    each = (len(t.statement.operands) - first) // 2
    values = [t.integer(first + i) for i in range(2 * each)]
    if each == 3 and (values[2] or values[5]):
        raise t.fail("has interior padding")
    return (values[0], values[1]), (values[each], values[each + 1])


def _out_size(t: Operands, size: int, pad: tuple[int, int], kernel: int, stride: int, dilation: int) -> int:
    if min(kernel, stride, dilation) < 1:
        raise t.fail("has a size below 1")
    return (size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1


def _conv2d(t: Operands) -> Step:
    t.expect(10, 8)
    dtype, shape, kernel = t.dtype(0), t.shape(1), t.shape(3)
    if len(shape) != 4 or len(kernel) != 4:
        raise t.fail("is not two-dimensional")
    groups, *window = (int(value) for value in t.fields[7:12])
    stride, dilation = (window[0], window[1]), (window[2], window[3])
    padding = _window_padding(t, 4)
    height, width = (_out_size(t, shape[2 + i], padding[i], kernel[2 + i], stride[i], dilation[i]) for i in range(2))
    out_shape = (shape[0], kernel[0], height, width)
    source, target = t.at(0, dtype, shape, t.shape(2)), t.at(3, dtype, out_shape, t.shape(6))
    weights, bias = t.at(1, dtype, kernel, t.shape(4)), t.at(2, dtype, (kernel[0],))
    clamp = (t.fields[12], t.fields[13])
    size = (kernel[2], kernel[3])
    return Conv2d(source, target, weights, bias, size, groups, stride, padding, dilation, clamp)


def _reduce_window(t: Operands) -> Step:
    t.expect(9, 7)
    dtype, op, shape = t.dtype(0), t.reduce_op(1), t.shape(2)
    if len(shape) != 4:
        raise t.fail("is not two-dimensional")
    kh, kw, sh, sw, dh, dw = (int(value) for value in t.fields[5:11])
    padding = _window_padding(t, 3)
    height = _out_size(t, shape[2], padding[0], kh, sh, dh)
    width = _out_size(t, shape[3], padding[1], kw, sw, dw)
    source = t.at(0, dtype, shape, t.shape(3))
    target = t.at(2, dtype, (*shape[:2], height, width), t.shape(4))
    clamp = (t.fields[11], t.fields[12])
    return ReduceWindow(source, target, op, (kh, kw), (sh, sw), padding, (dh, dw), t.number(1), clamp)


def _plain(t: Operands, kind: Callable[[Range, Range], Step]) -> Step:
    """Read an operator of one type: dtype, shape, source strides, target strides."""
    t.expect(2)
    dtype, shape = t.dtype(0), t.shape(1)
    return kind(t.at(0, dtype, shape, t.shape(2)), t.at(1, dtype, shape, t.shape(3)))


def _typed(t: Operands) -> tuple[Range, Range]:
    """Read the ranges of an operator that changes the type."""
    shape = t.shape(2)
    return t.at(0, t.dtype(0), shape, t.shape(3)), t.at(1, t.dtype(1), shape, t.shape(4))


def _quantise(t: Operands) -> Step:
    t.expect(4)
    return Quantise(*_typed(t), t.number(2), t.number(3))


def _dequantise(t: Operands) -> Step:
    t.expect(4)
    return Dequantise(*_typed(t), t.number(2), t.number(3))


def _convert(t: Operands) -> Step:
    t.expect(2)
    return Convert(*_typed(t))


def _reduce(t: Operands) -> Step:
    t.expect(3)
    dtype, shape = t.dtype(0), t.shape(1)
    axes = tuple(sorted(axis % len(shape) for axis in t.shape(5))) if shape else ()
    keep = bool(t.fields[6])
    reduced = tuple(1 if i in axes else size for i, size in enumerate(shape))
    out_shape = reduced if keep else tuple(size for i, size in enumerate(shape) if i not in axes)
    source, target = t.at(0, dtype, shape, t.shape(2)), t.at(1, dtype, out_shape)
    return Reduce(source, target, t.reduce_op(4), axes, t.number(2), keep)


def _pad(t: Operands) -> Step:
    t.expect(3)
    dtype, shape = t.dtype(0), t.shape(1)
    paddings = t.statement.paddings.get(t.byte(4))
    if paddings is None or len(paddings) != len(shape):
        raise t.fail("has no paddings, or of another rank")
    out_shape = tuple(
        size + before + after + interior * (size - 1)
        for size, (before, after, interior) in zip(shape, paddings, strict=True)
    )
    source, target = t.at(0, dtype, shape, t.shape(2)), t.at(1, dtype, out_shape, t.shape(3))
    return Pad(source, target, paddings, t.number(2), t.byte(5))


def _resize(t: Operands) -> Step:
    t.expect(4)
    dtype, shape = t.dtype(0), t.shape(1)
    size = (t.integer(0), t.integer(1))
    source, target = t.at(2, dtype, shape, t.shape(2)), t.at(3, dtype, (*shape[:-2], *size), t.shape(3))
    return Resize(source, target, "nearest" if t.byte(6) else "bilinear", bool(t.byte(4)), bool(t.byte(5)))


def _slice(t: Operands) -> Step:
    t.expect(2)
    dtype, shape, begin, end, step = t.dtype(0), t.shape(1), t.shape(4), t.shape(5), t.shape(6)
    if not len(shape) == len(begin) == len(end) == len(step) or 0 in step:
        raise t.fail("has begins, ends or steps of another rank, or a step of 0")
    out_shape = tuple(len(range(*slice(b, e, s).indices(max(n, 0)))) for n, b, e, s in zip(shape, begin, end, step))  # noqa: B905
    return Slice(t.at(0, dtype, shape, t.shape(2)), t.at(1, dtype, out_shape, t.shape(3)), begin, end, step)


def _softmax(t: Operands) -> Step:
    t.expect(2)
    dtype, shape = t.dtype(0), t.shape(1)
    if not shape:
        raise t.fail("has no axis")
    axis = int(t.fields[4]) % len(shape)
    source, target = t.at(0, dtype, shape, t.shape(2)), t.at(1, dtype, shape, t.shape(3))
    return Softmax(source, target, axis, t.fields[5])


def _transpose(t: Operands) -> Step:
    t.expect(2)
    dtype, shape, perm = t.dtype(0), t.shape(1), t.shape(4)
    if sorted(perm) != list(range(len(shape))):
        raise t.fail(f"permutes by {perm}")
    out_shape = tuple(shape[axis] for axis in perm)
    return Transpose(t.at(0, dtype, shape, t.shape(2)), t.at(1, dtype, out_shape, t.shape(3)), perm)


def _unary(t: Operands) -> Step:
    return _plain(t, lambda source, target: Unary(source, target, t.name(4, UNARY_OPS)))


def _lookup(t: Operands) -> Step:
    t.expect(5)
    dtype, shape = t.dtype(0), t.shape(1)
    table = t.at(1, dtype, (int(t.fields[4]),))
    source, target = t.at(0, dtype, shape, t.shape(2)), t.at(2, dtype, shape, t.shape(3))
    return Lookup(source, target, table, t.number(3), t.number(4))


def _matmul(t: Operands) -> Step:
    t.expect(4)
    strided = len(t.fields) == 8
    a_shape, b_shape = t.shape(0), t.shape(2 if strided else 1)
    if len(a_shape) != 2 or len(b_shape) != 2:
        raise t.fail("is not of two matrices")
    out_shape, bias_shape = (a_shape[0], b_shape[1]), (b_shape[1],)
    a, b = t.at(0, DType.FLOAT32, a_shape), t.at(1, DType.FLOAT32, b_shape)
    bias, target = t.at(2, DType.FLOAT32, bias_shape), t.at(3, DType.FLOAT32, out_shape)
    return MatMul(a, b, target, bias, (t.fields[-2], t.fields[-1]))


def _unknown(t: Operands) -> Step:
    """Keep an operator that is not interpreted; its operands' types are not known, so their ranges are empty."""
    ranges = tuple(
        t.place(operand, DType.UINT8, (0,), ()) for operand in t.statement.operands if isinstance(operand, Address)
    )
    body = struct.pack("<H", t.statement.number) + t.statement.raw
    return Unknown(t.statement.op.lower(), t.statement.number, body, ranges[:-1], ranges[-1:])


_STEPS: Final[dict[str, Callable[[Operands], Step]]] = {
    "BINARY": _binary,
    "CONV2D": _conv2d,
    "CONVERT": _convert,
    "COPY": lambda t: _plain(t, Copy),
    "DEQUANTIZE": _dequantise,
    "LUT1D": _lookup,
    "MATMUL": _matmul,
    "PAD": _pad,
    "QUANTIZE": _quantise,
    "REDUCE": _reduce,
    "REDUCE_WINDOW2D": _reduce_window,
    "RESIZE_IMAGE": _resize,
    "SIGMOID": lambda t: _plain(t, Logistic),
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "TRANSPOSE": _transpose,
    "UNARY": _unary,
}


def to_step(statement: Statement, place: Place, where: str) -> Step:
    """Interpret one statement other than CALL.

    Raises:
        KmodelError: its operands or registers are not what its operator takes.
    """
    return _STEPS.get(statement.op, _unknown)(Operands(statement, place, where))


def call_operands(statement: Statement, place: Place, where: str) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Return the input and output ranges of a CALL: each pushed as address, type, shape and stride register."""
    taker = Operands(statement, place, where)
    inputs, outputs = taker.byte(-2), taker.byte(-1)
    taker.expect(4 * (inputs + outputs))
    ranges = []
    for i in range(0, len(statement.operands), 4):
        dtype = taker.dtype_of(taker.integer(i + 1))
        shape, strides = taker.register(taker.integer(i + 2)), taker.register(taker.integer(i + 3))
        ranges.append(taker.at(i, dtype, shape, strides))
    return tuple(ranges[:inputs]), tuple(ranges[inputs:])
