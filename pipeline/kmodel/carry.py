"""Carrying one v5 step over to v4 or v3, or refusing it with what would remove it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.errors import KmodelError
from pipeline.kmodel.check import step_name
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.steps import (
    Binary,
    Copy,
    Dequantise,
    DequantiseV4,
    FullyConnected,
    FullyConnectedActivation,
    MatMul,
    Pad,
    Quantise,
    QuantiseV4,
    Reduce,
    Resize,
    Slice,
    Softmax,
    Step,
    Unknown,
    Upload,
)
from pipeline.kmodel.v4_nodes import BINARY_OPS, DTYPES, LOCATIONS

REMEDIES: Final = {
    "Binary": "an Add of two maps becomes KPU work when both are outputs of convolutions; fold constants into weights",
    "Conv2d": "replace the layer by 3×3 or 1×1 convolutions that the KPU runs (`kpufit replace`)",
    "Convert": "give the network uint8 inputs and no casts",
    "Copy": "make concatenated maps channels of one batch, and crop nothing",
    "Logistic": "put the sigmoid right behind a convolution, where it is folded, or leave it to the host",
    "Lookup": "put the activation right behind a convolution, where it is folded",
    "MatMul": "give the head in float (`--head MODEL.onnx`)",
    "Pad": "pad convolutions by 1 on each side, with stride 2 only on even sizes; give a head in float (`--head`)",
    "Quantise": "keep preprocessing off the CPU: mean 0, std 1 and the range in input_range",
    "Reduce": "use a global average pool, or give the head in float (`--head MODEL.onnx`)",
    "ReduceWindow": "pool 2×2 with stride 2 behind a convolution that is not depthwise, or use a strided convolution",
    "Resize": "leave the resize to the host, or use kmodel v4",
    "Slice": "use stride 2 on convolutions padded 1,1,1,1 and even sizes, on 1×1 rather than depthwise layers",
    "Softmax": "leave the softmax to the host: compile the network up to the logits",
    "Transpose": "compile with NCHW input and output layouts",
    "Unary": "put the function right behind a convolution, where it is folded, or leave it to the host",
    "Unknown": "compile with nncase 1.9",
    "Download": "compile without partial reads of a feature map",
}


def refuse(index: int, step: Step, why: str) -> KmodelError:
    """Return the error for a step that cannot be carried over, with the remedy for its kind."""
    kind = "Unknown" if isinstance(step, Unknown) else type(step).__name__
    return KmodelError(why, where=step_name(index, step), remedy=REMEDIES.get(kind, ""))


def carry(index: int, step: Step, before: Sequence[Step], constants: bytes, to: int) -> Step:
    """Return the v4 or v3 form of a v5 step.

    Args:
        index: its number, for messages.
        step: the step.
        before: the steps before it, for what a crop is taken from.
        constants: what CONST ranges point into.
        to: 3 or 4.

    Raises:
        KmodelError: the version does not have it.
    """
    match step:
        case KpuConv() | Upload() | FullyConnected():
            return step
        case MatMul(bias=bytes()):
            return step
        case Copy():
            return _copy(index, step, before, to)
    _check_dense(index, step, to)
    carried = _carry_v3(index, step, constants) if to == 3 else _carry_v4(index, step, constants)
    if carried is None:
        raise refuse(index, step, f"a {type(step).__name__} of this kind is not carried over to kmodel v{to}")
    return carried


def _check_dense(index: int, step: Step, to: int) -> None:
    for r in (*step.inputs, *step.outputs):
        if not r.contiguous:
            raise refuse(index, step, "reads or writes a tensor with strides, which v3 and v4 do not have")
        if r.dtype not in DTYPES:
            raise refuse(index, step, f"works on {r.dtype.numpy_name}; v3 and v4 know uint8 and float32")
        if to == 3 and r.location is Location.CONST and not isinstance(step, MatMul):
            raise refuse(index, step, "reads a constant, which v3 does not have")


def to_four(r: Range) -> Range:
    """Return a range with a shape of four dimensions, ones in front."""
    return replace(r, shape=(1,) * (4 - len(r.shape)) + r.shape, strides=())


def plain(r: Range) -> Range:
    """Return a dense range without strides."""
    return replace(r, strides=())


def zero_point(index: int, step: Dequantise | Quantise, scale: float, bias: float) -> int:
    """Return the zero point of real = code · scale + bias. Raises KmodelError when it is no integer."""
    exact = -bias / scale if scale else math.nan
    if not math.isfinite(exact) or abs(exact - round(exact)) > 1e-3:
        raise refuse(index, step, f"has no integer zero point (bias {bias}, scale {scale})")
    return round(exact)


def reciprocal(scale: float) -> float:
    """Return the float32 ``s`` for which v4's 1/s is nearest to ``scale``: equal, where such a number exists."""
    wanted = np.float32(scale)
    guess = np.float32(1) / wanted
    around = (np.nextafter(guess, np.float32(0)), guess, np.nextafter(guess, np.float32(np.inf)))
    return float(min(around, key=lambda s: (abs(np.float32(1) / s - wanted), s != guess)))


def _carry_v4(index: int, step: Step, constants: bytes) -> Step | None:
    match step:
        case Dequantise():
            point = zero_point(index, step, step.scale, step.bias)
            return DequantiseV4(plain(step.source), plain(step.target), point, reciprocal(step.scale))
        case Quantise():
            if step.bias != round(step.bias):
                raise refuse(index, step, f"has no integer zero point ({step.bias})")
            return QuantiseV4(plain(step.source), plain(step.target), round(step.bias), step.scale)
        case Reduce() if len(step.source.shape) <= 4 and step.source.dtype is DType.FLOAT32:
            source = to_four(step.source)
            axes = tuple(axis + 4 - len(step.source.shape) for axis in step.axes)
            kept = tuple(1 if axis in axes else size for axis, size in enumerate(source.shape))
            return replace(step, source=source, target=replace(step.target, shape=kept, strides=()), axes=axes)
        case Pad(mode=0) if len(step.source.shape) <= 4:
            if any(before < 0 or after < 0 or interior for before, after, interior in step.paddings):
                raise refuse(index, step, f"pads by {step.paddings}: negative or interior amounts")
            missing = 4 - len(step.source.shape)
            paddings = ((0, 0, 0),) * missing + step.paddings
            return replace(step, source=to_four(step.source), target=to_four(step.target), paddings=paddings)
        case Resize(half_pixel=False) if len(step.source.shape) == 4:
            return replace(step, source=plain(step.source), target=plain(step.target))
        case Softmax() if step.axis == len(step.source.shape) - 1:
            shape = (math.prod(step.source.shape[:-1]), step.source.shape[-1])
            source, target = (replace(r, shape=shape, strides=()) for r in (step.source, step.target))
            return Softmax(source, target, 1, step.beta)
        case Binary() if step.op in BINARY_OPS and step.a.dtype is DType.FLOAT32:
            if max(len(r.shape) for r in (step.a, step.b, step.target)) <= 4:
                return replace(step, a=to_four(step.a), b=to_four(step.b), target=to_four(step.target))
        case MatMul(bias=Range() as bias) if bias.location is Location.CONST:
            values = constants[bias.start : bias.end]
            return MatMul(plain(step.a), plain(step.b), plain(step.target), values, step.clamp)
    return None


def _carry_v3(index: int, step: Step, constants: bytes) -> Step | None:
    match step:
        case Dequantise():
            return replace(step, source=plain(step.source), target=plain(step.target))
        case Quantise():
            scale = float(np.float32(1 / step.scale)) if step.scale else 0.0
            return Quantise(plain(step.source), plain(step.target), scale, float(np.float32(-step.bias * scale)))
        case Reduce(op="mean", init=0.0) if len(step.source.shape) == 4 and step.axes == (2, 3):
            channels = step.source.shape[1]
            if step.source.shape[0] == 1 and step.source.dtype is DType.FLOAT32:
                target = replace(step.target, shape=(1, channels, 1, 1), strides=())
                return Reduce(plain(step.source), target, "mean", (2, 3))
        case Softmax(beta=1.0) if step.source.shape[step.axis] == step.source.elements:
            shape = (step.source.elements,)
            return Softmax(replace(step.source, shape=shape), replace(step.target, shape=shape), 0)
        case MatMul(bias=Range() as bias) if step.a.shape[0] == 1:
            return _fully_connected(index, step, bias, constants)
    return None


def _fully_connected(index: int, step: MatMul, bias: Range, constants: bytes) -> FullyConnected:
    """Return a v3 layer for a matrix product with constants: its weights are [out][in], the product's [in][out]."""
    if step.b.location is not Location.CONST or bias.location is not Location.CONST:
        raise refuse(index, step, "multiplies two computed tensors")
    if (step.clamp[0] > -1e38) or (step.clamp[1] < 1e38):
        raise refuse(index, step, "clamps its result, which v3's layer does not")
    matrix = np.frombuffer(constants[step.b.start : step.b.end], "<f4").reshape(step.b.shape)
    weights = np.ascontiguousarray(matrix.T).tobytes()
    linear = FullyConnectedActivation.LINEAR
    return FullyConnected(plain(step.a), plain(step.target), linear, weights, constants[bias.start : bias.end])


def _copy(index: int, step: Copy, before: Sequence[Step], to: int) -> Step:
    """Carry a copy: a dense one as it is, a crop as a strided slice of what was written there (v4 only)."""
    if to == 3:
        raise refuse(index, step, "kmodel v3 has no copy")
    if any(r.location is Location.KPU or r.dtype not in DTYPES for r in (step.source, step.target)):
        raise refuse(index, step, "copies in feature-map memory, or another type than uint8 and float32")
    if not step.target.contiguous:
        raise refuse(index, step, "writes a tensor with strides, which v4 does not have")
    if step.source.contiguous:
        return Copy(plain(step.source), plain(step.target))
    whole = _cropped_from(step.source, before)
    if whole is None or len(whole.shape) > 4 or whole.location not in LOCATIONS:
        raise refuse(index, step, "reads a tensor with strides that is no crop of one written before")
    offset = (step.source.start - whole.start) // whole.dtype.itemsize
    begin = [int(position) for position in np.unravel_index(offset, whole.shape)]
    end = [first + size for first, size in zip(begin, step.source.shape, strict=True)]
    if any(last > size for last, size in zip(end, whole.shape, strict=True)):
        raise refuse(index, step, "reads past an edge of the tensor it crops")
    missing = 4 - len(whole.shape)
    ones, zeros = (1,) * missing, (0,) * missing
    return Slice(to_four(whole), to_four(step.target), zeros + tuple(begin), ones + tuple(end), (1,) * 4)


def _cropped_from(source: Range, before: Sequence[Step]) -> Range | None:
    """Return the tensor that a strided range is a crop of: the last one written there, of the same strides."""
    for step in reversed(before):
        for written in step.outputs:
            inside = written.location is source.location and written.start <= source.start < written.end
            if not inside:
                continue
            dense = tuple(math.prod(written.shape[axis + 1 :]) for axis in range(len(written.shape)))
            same = len(dense) == len(source.strides) and all(
                size == 1 or stride == own
                for size, stride, own in zip(source.shape, source.strides, dense, strict=True)
            )
            return plain(written) if same and written.dtype is source.dtype else None
    return None
