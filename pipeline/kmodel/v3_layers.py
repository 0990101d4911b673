"""The CPU and transfer layers of kmodel v3: bodies to steps and back.

Layouts and arithmetic: kendryte-standalone-sdk lib/drivers/include/kpu.h (``kpu_model_*_layer_argument_t``) and
lib/drivers/kpu.c. A body is its flags word followed by what these functions read; the flags are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.parts import kpu_map, main_range
from pipeline.kmodel.registers import ROW_BYTES
from pipeline.kmodel.steps import (
    AddPadding,
    Binary,
    Concat,
    Dequantise,
    DequantiseChannels,
    Flatten,
    FullyConnected,
    FullyConnectedActivation,
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

CONV: Final = 10240
F32 = DType.FLOAT32
U8 = DType.UINT8


def _add(c: Cursor) -> Step:
    a, b, out, count = c.unpack("4I")
    shape = (count,)
    return Binary("add", main_range(F32, a, shape), main_range(F32, b, shape), main_range(F32, out, shape))


def _quantised_add(c: Cursor) -> Step:
    a, b, out, count = c.unpack("4I")
    v = c.unpack("9i")
    shape = (count,)
    rescale = ((v[0], v[1], v[2]), (v[3], v[4], v[5]), (v[6], v[7], v[8]))
    source_a, source_b, target = (main_range(U8, start, shape) for start in (a, b, out))
    return QuantisedBinary("add", source_a, source_b, target, rescale=rescale)


def _global_average(c: Cursor) -> Step:
    start, out, kernel, channels = c.unpack("4I")
    source, target = main_range(F32, start, (1, channels, 1, kernel)), main_range(F32, out, (1, channels, 1, 1))
    return Reduce(source, target, "mean", (2, 3))


def _pool(c: Cursor, dtype: DType) -> Step:
    start, out, iw, ih, ic, ow, oh, oc, kw, kh, sw, sh, pw, ph = c.unpack("14I")
    source, target = main_range(dtype, start, (1, ic, ih, iw)), main_range(dtype, out, (1, oc, oh, ow))
    paddings = ((ph, ph), (pw, pw))
    if dtype is U8:
        return ReduceWindow(source, target, "max", (kh, kw), (sh, sw), paddings)
    return ReduceWindow(source, target, "mean", (kh, kw), (sh, sw), paddings, activation=c.u32())


def _quantise(c: Cursor) -> Step:
    start, out, count = c.unpack("3I")
    return Quantise(main_range(F32, start, (count,)), main_range(U8, out, (count,)), c.f32(), c.f32())


def _dequantise(c: Cursor) -> Step:
    start, out, count = c.unpack("3I")
    return Dequantise(main_range(U8, start, (count,)), main_range(F32, out, (count,)), c.f32(), c.f32())


def _requantise(c: Cursor) -> Step:
    start, out, count = c.unpack("3I")
    return Requantise(main_range(U8, start, (count,)), main_range(U8, out, (count,)), c.take(256))


def _vector(c: Cursor, kind: Callable[[Range, Range], Step]) -> Step:
    start, out, channels = c.unpack("3I")
    return kind(main_range(F32, start, (channels,)), main_range(F32, out, (channels,)))


def _concat(c: Cursor, quantised: bool) -> Step:
    out = c.u32()
    count = c.count(8, "inputs")
    dtype = U8 if quantised else F32
    parts = [c.unpack("2I") for _ in range(count)]
    sources = tuple(Range(Location.MAIN, dtype, start, size) for start, size in parts)
    sizes = tuple(size for _, size in parts)
    return Concat(sources, Range(Location.MAIN, dtype, out, sum(sizes)), 1, 1, sizes, quantised)


def _fully_connected(c: Cursor) -> Step:
    start, out, inputs, outputs, activation = c.unpack("5I")
    if activation > 2:
        raise KmodelError(f"{c.what} has an unknown activation ({activation})")
    weights = c.take(4 * inputs * outputs)
    bias = c.take(4 * outputs)
    source, target = main_range(F32, start, (1, inputs)), main_range(F32, out, (1, outputs))
    return FullyConnected(source, target, FullyConnectedActivation(activation), weights, bias)


def _flatten(c: Cursor) -> Step:
    start, out, width, height, channels = c.unpack("5I")
    source = main_range(F32, start, (1, channels, height, width))
    return Flatten(source, main_range(F32, out, (1, height * width * channels)))


def _resize(c: Cursor, dtype: DType) -> Step:
    start, out, width, height, channels, out_width, out_height, align = c.unpack("8I")
    source = main_range(dtype, start, (1, channels, height, width))
    return Resize(source, main_range(dtype, out, (1, channels, out_height, out_width)), "nearest", align != 0)


def _dequantise_channels(c: Cursor) -> Step:
    start, out = c.unpack("2I")
    channels = c.count(8, "channels")
    count = c.u32()
    pairs = tuple((c.f32(), c.f32()) for _ in range(channels))
    shape = (channels, count)
    return DequantiseChannels(main_range(U8, start, shape), main_range(F32, out, shape), pairs)


def _add_padding(c: Cursor) -> Step:
    start, row, channels = c.unpack("3I")
    return AddPadding(main_range(U8, start, (channels,)), kpu_map(row * ROW_BYTES, channels, 4, 4, c.what), channels)


def _remove_padding(c: Cursor) -> Step:
    start, out, channels = c.unpack("3I")
    source = main_range(U8, start, (1, channels, 4, 4))
    return RemovePadding(source, main_range(U8, out, (channels,)), channels)


def _upload(c: Cursor) -> Step:
    start, row, width, height, channels = c.unpack("5I")
    source = main_range(U8, start, (1, channels, height, width))
    return Upload(source, kpu_map(row * ROW_BYTES, channels, height, width, c.what))


DECODERS: Final[dict[int, tuple[str, Callable[[Cursor], Step]]]] = {
    1: ("ADD", _add),
    2: ("QUANTIZED_ADD", _quantised_add),
    5: ("GLOBAL_AVERAGE_POOL2D", _global_average),
    8: ("QUANTIZED_MAX_POOL2D", lambda c: _pool(c, U8)),
    9: ("AVERAGE_POOL2D", lambda c: _pool(c, F32)),
    11: ("QUANTIZE", _quantise),
    12: ("DEQUANTIZE", _dequantise),
    13: ("REQUANTIZE", _requantise),
    14: ("L2_NORMALIZATION", lambda c: _vector(c, L2Norm)),
    15: ("SOFTMAX", lambda c: _vector(c, lambda a, b: Softmax(a, b, axis=0))),
    16: ("CONCAT", lambda c: _concat(c, quantised=False)),
    17: ("QUANTIZED_CONCAT", lambda c: _concat(c, quantised=True)),
    18: ("FULLY_CONNECTED", _fully_connected),
    20: ("TENSORFLOW_FLATTEN", _flatten),
    22: ("RESIZE_NEAREST_NEIGHBOR", lambda c: _resize(c, F32)),
    23: ("QUANTIZED_RESIZE_NEAREST_NEIGHBOR", lambda c: _resize(c, U8)),
    24: ("CHANNELWISE_DEQUANTIZE", _dequantise_channels),
    25: ("LOGISTIC", lambda c: _vector(c, Logistic)),
    10241: ("K210_ADD_PADDING", _add_padding),
    10242: ("K210_REMOVE_PADDING", _remove_padding),
    10243: ("K210_UPLOAD", _upload),
}
"""Layer type → (its name in kpu.h, what reads its body behind the flags word)."""
