"""The CPU's operators with one input and one output: each takes an array images × shape and gives one.

Sources and the order of sums: see ``pipeline.kpu.simulator.operators``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import KmodelError
from pipeline.kmodel import steps
from pipeline.kmodel.steps import FullyConnectedActivation

Floats = npt.NDArray[np.float32]
Tensor = npt.NDArray[Any]
L2_EPSILON: Final = np.float32(1e-10)
"""kpu.c ``kpu_l2_normalization``."""


def _dequantise(step: steps.Dequantise, x: Tensor, _version: int) -> Tensor:
    return x.astype(np.float32) * np.float32(step.scale) + np.float32(step.bias)


def _dequantise_v4(step: steps.DequantiseV4, x: Tensor, _version: int) -> Tensor:
    return (x.astype(np.float32) - np.float32(step.zero_point)) * (np.float32(1) / np.float32(step.scale))


def _dequantise_channels(step: steps.DequantiseChannels, x: Tensor, _version: int) -> Tensor:
    pairs = np.array(step.scale_bias, np.float32)
    result: Tensor = x.astype(np.float32) * pairs[:, :1] + pairs[:, 1:]
    return result


def _quantise(step: steps.Quantise, x: Tensor, version: int) -> Tensor:
    scale, bias = np.float32(step.scale), np.float32(step.bias)
    values = x.astype(np.float32, copy=False)
    if version == 3:
        return _to_codes(_half_away((values - bias) * (np.float32(1) / scale)))
    return _to_codes(np.rint(values * scale + bias))


def _quantise_v4(step: steps.QuantiseV4, x: Tensor, _version: int) -> Tensor:
    values = x.astype(np.float32, copy=False) * np.float32(step.scale) + np.float32(step.zero_point)
    return _to_codes(_half_away(values))


def _half_away(x: Floats) -> Floats:
    whole = np.trunc(x)  # of x ± 0.5 it would be wrong for 0.49999997, where the sum itself rounds up
    result: Floats = whole + np.copysign((np.abs(x - whole) >= 0.5).astype(np.float32), x)
    return result


def _to_codes(x: Floats) -> npt.NDArray[np.uint8]:
    return np.clip(x, 0, 255).astype(np.uint8)


def _requantise(step: steps.Requantise, x: Tensor, _version: int) -> Tensor:
    return np.frombuffer(step.table, np.uint8)[x]


def _reduce(step: steps.Reduce, x: Tensor, _version: int) -> Tensor:
    axes = [axis + 1 for axis in step.axes]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    values = x.transpose(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), -1).astype(np.float32, copy=False)
    init = np.float32(step.init)
    total: Tensor
    if step.op in ("min", "max"):
        reduce, combine = (np.min, np.minimum) if step.op == "min" else (np.max, np.maximum)
        total = combine(reduce(values, axis=-1), init)
        return total
    total = sum_in_order(values) + init
    return total / np.float32(values.shape[-1]) if step.op == "mean" else total


def sum_in_order(values: Floats) -> Floats:
    """Sum over the last axis one by one (numpy's own sum goes by pairs)."""
    total: Floats = np.add.accumulate(values, axis=-1, dtype=np.float32)[..., -1]
    return total


def _reduce_window(step: steps.ReduceWindow, x: Tensor, _version: int) -> Tensor:
    (top, bottom), (left, right) = step.padding
    height, width = step.target.shape[2:]
    inside = np.pad(np.ones(x.shape[-2:], np.float32), ((top, bottom), (left, right)))
    neutral = {"max": -np.inf, "min": np.inf}.get(step.op, 0.0)
    wide = x.astype(np.float32)
    margins = [(0, 0)] * (x.ndim - 2) + [(max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))]
    padded = np.pad(wide, margins, constant_values=neutral)
    result = np.full((*x.shape[:-2], height, width), step.init if x.dtype == np.float32 else 0, np.float32)
    counts = np.zeros((height, width), np.float32)
    combine: Any = {"max": np.maximum, "min": np.minimum}.get(step.op, np.add)
    for ky in range(step.window[0]):
        for kx in range(step.window[1]):
            rows = _every(ky * step.dilation[0], step.stride[0], height)
            columns = _every(kx * step.dilation[1], step.stride[1], width)
            result = combine(result, padded[..., rows, columns])
            counts += inside[rows, columns]
    if step.op == "mean":
        result = result / counts
    return np.clip(result, *np.array(step.clamp, np.float32))


def _every(first: int, step: int, count: int) -> slice:
    return slice(first, first + (count - 1) * step + 1, step)


def _pad(step: steps.Pad, x: Tensor, _version: int) -> Tensor:
    if step.mode != 0 or any(interior for *_, interior in step.paddings):
        raise KmodelError("the simulator pads with a constant only, and around a tensor only")
    shape = step.target.shape
    result = np.full((len(x), *shape), step.value, x.dtype)  # np.pad takes ten times as long
    inner, crop = [slice(None)], [slice(None)]
    for size, (before, after, _) in zip(x.shape[1:], step.paddings, strict=True):
        kept = size + min(before, 0) + min(after, 0)
        crop.append(slice(max(-before, 0), max(-before, 0) + kept))
        inner.append(slice(max(before, 0), max(before, 0) + kept))
    result[tuple(inner)] = x[tuple(crop)]
    return result


def _fully_connected(step: steps.FullyConnected, x: Tensor, _version: int) -> Tensor:
    bias = np.frombuffer(step.bias, "<f4")
    weights = np.frombuffer(step.weights, "<f4").reshape(len(bias), -1)
    vector = x.reshape(len(x), 1, -1).astype(np.float32, copy=False)
    result = sum_in_order(vector * weights) + bias
    if step.activation is not FullyConnectedActivation.LINEAR:
        result = np.maximum(result, np.float32(0))
    outcome: Tensor = np.minimum(result, np.float32(6)) if step.activation is FullyConnectedActivation.RELU6 else result
    return outcome


def _flatten(_step: steps.Flatten, x: Tensor, _version: int) -> Tensor:
    return np.moveaxis(x, -3, -1)


def _softmax(step: steps.Softmax, x: Tensor, version: int) -> Tensor:
    axis = step.axis + 1
    floor = np.finfo(np.float32).tiny if version == 3 else -np.inf  # kpu.c starts its maximum at FLT_MIN
    shifted = (x - np.maximum(x.max(axis=axis, keepdims=True), np.float32(floor))) * np.float32(step.beta)
    powers = np.exp(shifted)
    total = sum_in_order(np.moveaxis(powers, axis, -1))
    result: Tensor = powers / np.expand_dims(total, axis)
    return result


def _logistic(_step: steps.Logistic, x: Tensor, _version: int) -> Tensor:
    result: Tensor = np.float32(1) / (np.float32(1) + np.exp(-x))
    return result


def _l2_norm(_step: steps.L2Norm, x: Tensor, _version: int) -> Tensor:
    flat = x.reshape(len(x), -1)
    total = np.maximum(sum_in_order(flat * flat), L2_EPSILON)
    result: Tensor = flat * (np.float32(1) / np.sqrt(total))[:, None]
    return result


def _resize(step: steps.Resize, x: Tensor, _version: int) -> Tensor:
    rows = _places(step.source.shape[-2], step.target.shape[-2], step)
    columns = _places(step.source.shape[-1], step.target.shape[-1], step)
    if step.mode == "nearest":
        return x[..., _nearest(rows, x.shape[-2], step)[:, None], _nearest(columns, x.shape[-1], step)]
    (y0, y1, dy), (x0, x1, dx) = _bilinear(rows, x.shape[-2]), _bilinear(columns, x.shape[-1])
    dy, one = dy[:, None], np.float32(1)
    parts = (
        x[..., y0[:, None], x0] * ((one - dy) * (one - dx)),
        x[..., y1[:, None], x0] * (dy * (one - dx)),
        x[..., y0[:, None], x1] * ((one - dy) * dx),
        x[..., y1[:, None], x1] * (dy * dx),
    )
    result = parts[0] + parts[1] + parts[2] + parts[3]
    outcome: Tensor = result if x.dtype == np.float32 else (result + np.float32(0.5)).astype(x.dtype)
    return outcome


def _places(size: int, out_size: int, step: steps.Resize) -> Floats:
    """Where output pixels lie in the input (kernel_utils.h ``get_resize_scales``, ``get_nearest_neighbor``)."""
    scale = np.float32(size) / np.float32(out_size)
    if step.align_corners and out_size > 1:
        scale = np.float32(size - 1) / np.float32(out_size - 1)
    pixels = np.arange(out_size, dtype=np.float32)
    if not step.half_pixel:
        return pixels * scale
    shifted = (pixels + np.float32(0.5)) * scale
    return shifted if step.mode == "nearest" else shifted - np.float32(0.5)


def _nearest(places: Floats, size: int, step: steps.Resize) -> npt.NDArray[np.int64]:
    rounded = _half_away(places) if step.align_corners else np.floor(places)
    return np.clip(rounded.astype(np.int64), 0, size - 1)


def _bilinear(places: Floats, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    low = np.maximum(np.floor(places).astype(np.int64), 0)
    high = np.minimum(np.ceil(places).astype(np.int64), size - 1)
    return low, high, places - low.astype(np.float32)


def _transpose(step: steps.Transpose, x: Tensor, _version: int) -> Tensor:
    return x.transpose(0, *(axis + 1 for axis in step.perm))


def _slice(step: steps.Slice, x: Tensor, _version: int) -> Tensor:
    if any(step.masks):
        raise KmodelError("the simulator does not know slices with masks")
    return x[(slice(None), *(slice(b, e, s) for b, e, s in zip(step.begin, step.end, step.step, strict=True)))]


def _remove_padding(step: steps.RemovePadding, x: Tensor, _version: int) -> Tensor:
    return x.reshape(len(x), -1)[:, : step.channels * 16 : 16]


def _unary(step: steps.Unary, x: Tensor, _version: int) -> Tensor:
    if step.op not in _FUNCTIONS:
        raise KmodelError(f"the simulator does not know the function {step.op}")
    result: Tensor = _FUNCTIONS[step.op](x)
    return result


_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "abs": np.abs, "ceil": np.ceil, "cos": np.cos, "exp": np.exp, "floor": np.floor, "log": np.log,
    "neg": np.negative, "round": np.rint, "rsqrt": lambda x: np.float32(1) / np.sqrt(x), "sign": np.sign,
    "sin": np.sin, "sqrt": np.sqrt, "square": np.square, "tanh": np.tanh,
}  # fmt: skip
UNARY: Final[dict[type, Callable[[Any, Tensor, int], Tensor]]] = {
    steps.Dequantise: _dequantise,
    steps.DequantiseV4: _dequantise_v4,
    steps.DequantiseChannels: _dequantise_channels,
    steps.Quantise: _quantise,
    steps.QuantiseV4: _quantise_v4,
    steps.Requantise: _requantise,
    steps.Reduce: _reduce,
    steps.ReduceWindow: _reduce_window,
    steps.Pad: _pad,
    steps.FullyConnected: _fully_connected,
    steps.Flatten: _flatten,
    steps.Softmax: _softmax,
    steps.Logistic: _logistic,
    steps.L2Norm: _l2_norm,
    steps.Resize: _resize,
    steps.Transpose: _transpose,
    steps.Slice: _slice,
    steps.RemovePadding: _remove_padding,
    steps.Unary: _unary,
}
"""Step → operator(step, array, kmodel version)."""
