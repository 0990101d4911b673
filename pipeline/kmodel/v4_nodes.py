"""The CPU and transfer nodes of kmodel v4: bodies to steps and back.

Layouts: nncase v0.2.0-beta4 src/common/include/runtime/neutral/neutral_ops_body.h and k210/k210_ops_body.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar, get_args

from pipeline.errors import KmodelError
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.parts import kpu_map
from pipeline.kmodel.steps import (
    Binary,
    Concat,
    Conv2d,
    Copy,
    DequantiseV4,
    Lookup,
    MatMul,
    Pad,
    QuantisedBinary,
    QuantiseV4,
    Reduce,
    ReduceOp,
    ReduceWindow,
    Resize,
    ResizeMode,
    Slice,
    Softmax,
    Step,
    Transpose,
    Unary,
    Unknown,
    Upload,
)

KPU_CONV: Final = 0x2002
LOCATIONS: Final = (Location.CONST, Location.MAIN, Location.KPU)
DTYPES: Final = (DType.FLOAT32, DType.UINT8)
REDUCE_OPS: Final[tuple[ReduceOp, ...]] = get_args(ReduceOp)
BINARY_OPS: Final = ("add", "sub", "mul", "div", "min", "max")
UNARY_OPS: Final = ("abs", "ceil", "cos", "exp", "floor", "log", "neg", "rsqrt", "sin", "square")
RESIZE_MODES: Final[tuple[ResizeMode, ...]] = get_args(ResizeMode)
LOWEST: Final = struct.unpack("<f", b"\xff\xff\x7f\xff")[0]
HIGHEST: Final = -LOWEST
"""float32's range, which stands for "no clamp"."""


def read_range(c: Cursor) -> Range:
    """Read a memory_range: type, dtype, start, size."""
    location, dtype, start, size = c.unpack("4I")
    if location >= len(LOCATIONS) or dtype >= len(DTYPES):
        raise KmodelError(f"{c.what} has a memory range of an unknown type ({location}, {dtype})")
    return Range(LOCATIONS[location], DTYPES[dtype], start, size)


def _shaped(r: Range, shape: tuple[int, ...]) -> Range:
    return replace(r, shape=shape)


_Name = TypeVar("_Name", bound=str)


def _choice(c: Cursor, names: tuple[_Name, ...], what: str) -> _Name:
    index = c.u32()
    if index >= len(names):
        raise KmodelError(f"{c.what} has an unknown {what} ({index})")
    return names[index]


def _clamp(c: Cursor) -> tuple[float, float]:
    return (c.f32(), c.f32())


def _binary(c: Cursor) -> Step:
    a, b, out = read_range(c), read_range(c), read_range(c)
    op = _choice(c, BINARY_OPS, "operation")
    a, b, out = _shaped(a, c.unpack("4i")), _shaped(b, c.unpack("4i")), _shaped(out, c.unpack("4i"))
    return Binary(op, a, b, out, _clamp(c))


def _quantised_binary(c: Cursor) -> Step:
    a, b, out = read_range(c), read_range(c), read_range(c)
    op = _choice(c, BINARY_OPS, "operation")
    a, b, out = _shaped(a, c.unpack("4i")), _shaped(b, c.unpack("4i")), _shaped(out, c.unpack("4i"))
    v = c.unpack("9i")
    rescale = ((v[0], v[1], v[2]), (v[3], v[4], v[5]), (v[6], v[7], v[8]))
    return QuantisedBinary(op, a, b, out, rescale=rescale)


def _concat(c: Cursor) -> Step:
    out = read_range(c)
    inner, outer = c.unpack("2I")
    count = c.count(20, "inputs")
    sources = tuple(read_range(c) for _ in range(count))
    return Concat(sources, out, outer, inner, c.unpack(f"{count}i"))


def _conv2d(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    shape = c.unpack("4i")
    groups, channels, top, bottom, left, right, kh, kw, sh, sw, dh, dw = c.unpack("12i")
    clamp = _clamp(c)
    if min(groups, channels, kh, kw, sh, sw, dh, dw, *shape) < 1:
        raise KmodelError(f"{c.what} has a size below 1")
    weights = c.take(4 * channels * (shape[1] // groups) * kh * kw)
    bias = c.take(4 * channels)
    height = (shape[2] + top + bottom - dh * (kh - 1) - 1) // sh + 1
    width = (shape[3] + left + right - dw * (kw - 1) - 1) // sw + 1
    out_shape = (shape[0], channels, height, width)
    padding = ((top, bottom), (left, right))
    kernel, stride, dilation = (kh, kw), (sh, sw), (dh, dw)
    source, target = _shaped(source, shape), _shaped(target, out_shape)
    return Conv2d(source, target, weights, bias, kernel, groups, stride, padding, dilation, clamp)


def _dequantise(c: Cursor) -> Step:
    return DequantiseV4(read_range(c), read_range(c), c.i32(), c.f32())


def _quantise(c: Cursor) -> Step:
    return QuantiseV4(read_range(c), read_range(c), c.i32(), c.f32())


def _matmul(c: Cursor) -> Step:
    a, b, out = read_range(c), read_range(c), read_range(c)
    rows, inner, columns = c.unpack("3i")
    clamp = _clamp(c)
    bias = c.take(4 * columns)
    return MatMul(_shaped(a, (rows, inner)), _shaped(b, (inner, columns)), _shaped(out, (rows, columns)), bias, clamp)


def _pad(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    shape = c.unpack("4i")
    amounts = c.unpack("8i")
    scalar_type = c.u32()
    storage = c.take(4)
    value: float = storage[0] if source.dtype is DType.UINT8 else struct.unpack("<f", storage)[0]
    paddings = tuple((amounts[i], amounts[i + 1], 0) for i in range(0, 8, 2))
    out_shape = tuple(size + before + after for size, (before, after, _) in zip(shape, paddings, strict=True))
    return Pad(_shaped(source, shape), _shaped(target, out_shape), paddings, value, scalar_type=scalar_type)


def _reduce(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    op = _choice(c, REDUCE_OPS, "reduction")
    shape, out_shape = c.unpack("4i"), c.unpack("4i")
    axes = tuple(i for i, (m, n) in enumerate(zip(shape, out_shape, strict=True)) if m != n)
    return Reduce(_shaped(source, shape), _shaped(target, out_shape), op, axes, c.f32())


def _reduce_window(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    op = _choice(c, REDUCE_OPS, "reduction")
    shape = c.unpack("4i")
    top, bottom, left, right, kh, kw, sh, sw, dh, dw = c.unpack("10i")
    if min(kh, kw, sh, sw, dh, dw) < 1:
        raise KmodelError(f"{c.what} has a size below 1")
    height = (shape[2] + top + bottom - dh * (kh - 1) - 1) // sh + 1
    width = (shape[3] + left + right - dw * (kw - 1) - 1) // sw + 1
    source, target = _shaped(source, shape), _shaped(target, (*shape[:2], height, width))
    padding = ((top, bottom), (left, right))
    return ReduceWindow(source, target, op, (kh, kw), (sh, sw), padding, (dh, dw), c.f32(), _clamp(c))


def _copy(c: Cursor) -> Step:
    return Copy(read_range(c), read_range(c))


def _resize(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    shape = c.unpack("4i")
    size = c.unpack("2i")
    mode = _choice(c, RESIZE_MODES, "mode")
    return Resize(_shaped(source, shape), _shaped(target, (*shape[:2], *size)), mode, c.u8() != 0)


def _softmax(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    inner, outer = c.unpack("2i")
    return Softmax(_shaped(source, (outer, inner)), _shaped(target, (outer, inner)), 1, c.f32())


def _transpose(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    shape, perm = c.unpack("4i"), c.unpack("4i")
    if sorted(perm) != [0, 1, 2, 3]:
        raise KmodelError(f"{c.what} permutes by {perm}")
    return Transpose(_shaped(source, shape), _shaped(target, tuple(shape[axis] for axis in perm)), perm)


def _slice(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    shape, begin, end, step, masks = c.unpack("4i"), c.unpack("4i"), c.unpack("4i"), c.unpack("4i"), c.unpack("5i")
    if 0 in step:
        raise KmodelError(f"{c.what} has a step of 0")
    out_shape = tuple(-(-(last - first) // stride) for first, last, stride in zip(begin, end, step, strict=True))
    target = target if any(masks) else _shaped(target, out_shape)
    return Slice(_shaped(source, shape), target, begin, end, step, masks)


def _unary(c: Cursor) -> Step:
    return Unary(read_range(c), read_range(c), _choice(c, UNARY_OPS, "function"))


def _lookup(c: Cursor) -> Step:
    source, table = read_range(c), read_range(c)
    return Lookup(source, read_range(c), table)


def _upload(c: Cursor) -> Step:
    source, target = read_range(c), read_range(c)
    shape = c.unpack("4i")
    if target.location is not Location.KPU or min(shape) < 1:
        raise KmodelError(f"{c.what} does not upload to the KPU")
    batches, channels, height, width = shape
    return Upload(_shaped(source, shape), kpu_map(target.start, channels, height, width, c.what, batches))


DECODERS: Final[dict[int, tuple[str, Callable[[Cursor], Step]]]] = {
    0x00: ("binary", _binary),
    0x01: ("concat", _concat),
    0x02: ("conv2d", _conv2d),
    0x03: ("dequantize", _dequantise),
    0x04: ("matmul", _matmul),
    0x05: ("pad", _pad),
    0x06: ("quantize", _quantise),
    0x07: ("reduce", _reduce),
    0x08: ("reduce_window2d", _reduce_window),
    0x09: ("memory_copy", _copy),
    0x0A: ("resize_image", _resize),
    0x0B: ("softmax", _softmax),
    0x0C: ("transpose", _transpose),
    0x0D: ("strided_slice", _slice),
    0x0E: ("unary", _unary),
    0x11: ("quantized_binary", _quantised_binary),
    0x12: ("table_lookup1d", _lookup),
    0x2001: ("kpu_upload", _upload),
}
"""Opcode → (its name, what reads its body)."""

UNREAD: Final = {
    0x0F: "quantized_conv2d",
    0x10: "quantized_matmul",
    0x13: "conv2d_transpose",
    0x14: "nnil_unary_method",
    0x1001: "cpu_conv2d",
    0x1002: "cpu_depthwise_conv2d",
    0x1003: "cpu_reduce_window2d",
    0x1004: "cpu_quantized_conv2d",
    0x1005: "cpu_quantized_depthwise_conv2d",
}
"""Nodes that are named and kept verbatim. All start with an input and an output range."""


def read_unknown(c: Cursor, code: int) -> Unknown:
    """Keep a node's body, with the ranges at its start where its kind has them."""
    body = c.data[c.position : c.end]
    if code not in UNREAD:
        return Unknown("", code, c.take(c.left))
    ranges = (read_range(c), read_range(c))
    c.take(c.left)
    return Unknown(UNREAD[code], code, body, ranges[:1], ranges[1:])
