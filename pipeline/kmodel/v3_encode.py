"""Encoding the CPU and transfer layers of kmodel v3; ``v3_layers`` reads them."""

from __future__ import annotations

import struct

from pipeline.kmodel.memory import DType
from pipeline.kmodel.registers import ROW_BYTES
from pipeline.kmodel.steps import (
    AddPadding,
    Binary,
    Concat,
    Dequantise,
    DequantiseChannels,
    Flatten,
    FullyConnected,
    L2Norm,
    Logistic,
    Quantise,
    QuantisedBinary,
    Reduce,
    ReduceWindow,
    RemovePadding,
    Requantise,
    Resize,
    Softmax,
    Step,
    Upload,
)

F32 = DType.FLOAT32
U8 = DType.UINT8
_VECTORS = {L2Norm: 14, Softmax: 15, Logistic: 25}
"""Layers that are an input, an output and a count."""


def _pack(layout: str, *values: float) -> bytes:
    return struct.pack(f"<{layout}", *values)


def encode(step: Step) -> tuple[int, bytes] | None:
    """Return a step's layer type and its body behind the flags word; None for a step that v3 does not have."""
    match step:
        case QuantisedBinary(op="add"):
            addresses = (step.a.start, step.b.start, step.target.start, step.a.elements)
            return 2, _pack("4I9i", *addresses, *(value for triple in step.rescale for value in triple))
        case Binary(op="add"):
            return 1, _pack("4I", step.a.start, step.b.start, step.target.start, step.a.elements)
        case Reduce(op="mean") if step.axes == (2, 3) and step.source.dtype is F32:
            _, channels, height, width = step.source.shape
            return 5, _pack("4I", step.source.start, step.target.start, height * width, channels)
        case ReduceWindow():
            return _encode_pool(step)
        case Concat():
            ranges = b"".join(_pack("2I", r.start, r.size) for r in step.sources)
            return (17 if step.quantised else 16), _pack("2I", step.target.start, len(step.sources)) + ranges
        case FullyConnected():
            size = (step.source.elements, step.target.elements, step.activation.value)
            return 18, _pack("5I", step.source.start, step.target.start, *size) + step.weights + step.bias
        case DequantiseChannels():
            pairs = b"".join(_pack("2f", *pair) for pair in step.scale_bias)
            return 24, _pack("4I", step.source.start, step.target.start, *step.source.shape) + pairs
        case _:
            return _encode_plain(step)


def _encode_pool(step: ReduceWindow) -> tuple[int, bytes]:
    s, t = step.source, step.target
    maps = (*s.shape[:0:-1], *t.shape[:0:-1])
    window = (*step.window[::-1], *step.stride[::-1], step.padding[1][0], step.padding[0][0])
    body = _pack("14I", s.start, t.start, *maps, *window)
    return (8, body) if s.dtype is U8 else (9, body + _pack("I", step.activation))


def _encode_plain(step: Step) -> tuple[int, bytes] | None:
    """Encode the layers that start with input and output address."""
    if len(step.inputs) != 1 or len(step.outputs) != 1:
        return None
    source, target = step.inputs[0], step.outputs[0]
    head = _pack("2I", source.start, target.start)
    count = _pack("I", source.elements)
    rows = _pack("2I", source.start, target.start // ROW_BYTES)
    match step:
        case Quantise():
            return 11, head + count + _pack("2f", step.scale, step.bias)
        case Dequantise():
            return 12, head + count + _pack("2f", step.scale, step.bias)
        case Requantise():
            return 13, head + count + step.table
        case L2Norm() | Softmax() | Logistic():
            return _VECTORS[type(step)], head + count
        case Flatten():
            return 20, head + _pack("3I", *source.shape[:0:-1])
        case Resize(mode="nearest"):
            out_height, out_width = target.shape[2:]
            size = _pack("6I", *source.shape[:0:-1], out_width, out_height, step.align_corners)
            return (23 if source.dtype is U8 else 22), head + size
        case AddPadding():
            return 10241, rows + _pack("I", step.channels)
        case RemovePadding():
            return 10242, head + _pack("I", step.channels)
        case Upload():
            return 10243, rows + _pack("3I", *source.shape[:0:-1])
        case _:
            return None
