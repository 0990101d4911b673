"""Encoding the CPU and transfer nodes of kmodel v4; ``v4_nodes`` reads them."""

from __future__ import annotations

import struct

from pipeline.errors import KmodelError
from pipeline.kmodel.memory import DType, Range
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
    ReduceWindow,
    Resize,
    Slice,
    Softmax,
    Step,
    Transpose,
    Unary,
    Unknown,
    Upload,
)
from pipeline.kmodel.v4_nodes import BINARY_OPS, DTYPES, LOCATIONS, REDUCE_OPS, RESIZE_MODES, UNARY_OPS


def write_range(r: Range) -> bytes:
    """Return a memory_range. Raises KmodelError for a location or type that v4 does not have."""
    if r.location not in LOCATIONS or r.dtype not in DTYPES:
        raise KmodelError(f"kmodel v4 has no {r.dtype.numpy_name} range in {r.location.value}")
    return struct.pack("<4I", LOCATIONS.index(r.location), DTYPES.index(r.dtype), r.start, r.size)


def encode(step: Step) -> tuple[int, bytes] | None:
    """Return a step's opcode and body; None for a step that v4 does not have."""
    match step:
        case Unknown():
            return step.code, step.body
        case QuantisedBinary():
            rescale = (value for triple in step.rescale for value in triple)
            return 0x11, _encode_binary(step) + struct.pack("<9i", *rescale)
        case Binary():
            return 0x00, _encode_binary(step) + struct.pack("<2f", *step.clamp)
        case Concat():
            counts = struct.pack("<3I", step.inner_bytes, step.outer, len(step.sources))
            ranges = b"".join(write_range(r) for r in step.sources)
            return 0x01, write_range(step.target) + counts + ranges + struct.pack(f"<{len(step.dims)}i", *step.dims)
        case MatMul(bias=bytes(bias)):
            ranges = b"".join(write_range(r) for r in (step.a, step.b, step.target))
            sizes = (*step.a.shape, step.b.shape[1])
            return 0x04, ranges + struct.pack("<3i2f", *sizes, *step.clamp) + bias
        case Lookup():
            return 0x12, b"".join(write_range(r) for r in (step.source, step.table, step.target))
        case Conv2d(weights=bytes(weights), bias=bytes(bias)):
            return 0x02, _encode_conv2d(step) + weights + bias
        case _:
            return _encode_unary(step)


def _encode_binary(step: Binary) -> bytes:
    parts = (step.a, step.b, step.target)
    shapes = b"".join(struct.pack("<4i", *r.shape) for r in parts)
    return b"".join(write_range(r) for r in parts) + struct.pack("<I", BINARY_OPS.index(step.op)) + shapes


def _encode_conv2d(step: Conv2d) -> bytes:
    sizes = (step.groups, step.target.shape[1], *step.padding[0], *step.padding[1])
    window = (*step.kernel, *step.stride, *step.dilation)
    fixed = struct.pack("<4i12i2f", *step.source.shape, *sizes, *window, *step.clamp)
    return write_range(step.source) + write_range(step.target) + fixed


def _encode_unary(step: Step) -> tuple[int, bytes] | None:
    """Encode the nodes that start with one input and one output range."""
    if len(step.inputs) != 1 or len(step.outputs) != 1:
        return None
    source, target = step.inputs[0], step.outputs[0]
    encoded = _encode_options(step, source, target)
    if encoded is None:
        return None
    code, options = encoded
    return code, write_range(source) + write_range(target) + options


def _encode_options(step: Step, source: Range, target: Range) -> tuple[int, bytes] | None:
    match step:
        case DequantiseV4():
            return 0x03, struct.pack("<if", step.zero_point, step.scale)
        case Copy():
            return 0x09, b""
        case QuantiseV4():
            return 0x06, struct.pack("<if", step.zero_point, step.scale)
        case Pad(mode=0) if all(interior == 0 for _, _, interior in step.paddings):
            amounts = (amount for before, after, _ in step.paddings for amount in (before, after))
            is_byte = source.dtype is DType.UINT8
            storage = struct.pack("<I", int(step.value)) if is_byte else struct.pack("<f", step.value)
            return 0x05, struct.pack("<4i8iI", *source.shape, *amounts, step.scalar_type) + storage
        case _:
            return _encode_shaped(step, source, target)


def _encode_shaped(step: Step, source: Range, target: Range) -> tuple[int, bytes] | None:
    """Encode the options that begin with a shape or an operation."""
    match step:
        case Reduce():
            shapes = (*source.shape, *target.shape)
            return 0x07, struct.pack("<I8if", REDUCE_OPS.index(step.op), *shapes, step.init)
        case ReduceWindow():
            window = (*step.padding[0], *step.padding[1], *step.window, *step.stride, *step.dilation)
            fixed = struct.pack("<I4i10i", REDUCE_OPS.index(step.op), *source.shape, *window)
            return 0x08, fixed + struct.pack("<3f", step.init, *step.clamp)
        case Resize(half_pixel=False):
            size = (*source.shape, *target.shape[2:], RESIZE_MODES.index(step.mode), int(step.align_corners))
            return 0x0A, struct.pack("<8i", *size)
        case Softmax():
            return 0x0B, struct.pack("<2if", source.shape[1], source.shape[0], step.beta)
        case Transpose():
            return 0x0C, struct.pack("<8i", *source.shape, *step.perm)
        case Slice():
            return 0x0D, struct.pack("<21i", *source.shape, *step.begin, *step.end, *step.step, *step.masks)
        case Unary():
            return 0x0E, struct.pack("<I", UNARY_OPS.index(step.op))
        case Upload():
            return 0x2001, struct.pack("<4i", *source.shape)
        case _:
            return None
