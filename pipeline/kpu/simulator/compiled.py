"""KPU layers on the CPU, compiled by Numba: int8 dot products with the batch-norm and activation fused behind them.

Maps are uint8 N×H×W×C with the channels padded to a multiple of four (what the padding holds does not matter: its
weights are 0). A function works through a few images on one thread, without the interpreter's lock; the caller gives
each thread images of its own, which needs no threading layer and no barrier between layers.

A tile of pixels × up to 64 output channels goes from sums to codes while it is in the first-level cache.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.kpu.simulator.jit import machine_code
from pipeline.kpu.simulator.plan import FALLING_EVEN, HALF_EVEN, HALF_UP, PRODUCT_LIMIT, Pieces
from pipeline.kpu.simulator.vnni import BLOCK, GROUP, LANES, dot_products

Codes = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.int32]
Weights = npt.NDArray[np.int8]
Doubles = npt.NDArray[np.float64]
WIDE: Final = 4 * LANES
TILE: Final = 24 * WIDE
"""Sums that are made before they are activated; with their codes they stay in the first-level cache."""
ROUND: Final = 1.5 * 2.0**52
"""Adding and subtracting it rounds a float64 below 2⁵¹ to an integer, half to even."""


@machine_code
def _activate(
    acc: Sums,
    factor: Doubles,
    addend: Doubles,
    pieces: Pieces,
    u: Doubles,
    y: Doubles,
    codes: Codes,
    count: int,
) -> None:
    """Turn ``count`` sums into codes.

    ``factor`` and ``addend`` repeat every len(factor) values; sums up to the next whole multiple of that are read and
    codes written. nncase's tables for ReLU, ReLU6 and no activation at all leave a constant, a rising line and a few
    constants: one loop. Any other table takes a loop a piece.
    """
    first, _, slope, _, rounding = pieces
    one_line = 2 <= len(first) <= 6 and rounding[1] == HALF_EVEN
    for k in range(len(first)):
        one_line = one_line and (k == 1 or slope[k] == 0.0)
    if one_line:
        _activate_line(acc, factor, addend, pieces, codes, count)
    else:
        _activate_pieces(acc, factor, addend, pieces, u, y, codes, count)


@machine_code
def _activate_line(acc: Sums, factor: Doubles, addend: Doubles, pieces: Pieces, codes: Codes, count: int) -> None:
    """A constant, a rising line, and up to four constants."""
    first, start, slope, add, _ = pieces
    below, least, origin, scale, plus = add[0], first[1], start[1], slope[1], add[1]
    t2, c2 = (first[2], add[2]) if len(first) > 2 else (math.inf, 0.0)
    t3, c3 = (first[3], add[3]) if len(first) > 3 else (math.inf, 0.0)
    t4, c4 = (first[4], add[4]) if len(first) > 4 else (math.inf, 0.0)
    t5, c5 = (first[5], add[5]) if len(first) > 5 else (math.inf, 0.0)
    cap = 255.0 - plus
    span = len(factor)
    for begin in range(0, count, span):
        # Slices, not sums of indices: for those Numba checks for negative ones, and nothing vectorises.
        sums, made = acc[begin : begin + span], codes[begin : begin + span]
        for c in range(span):
            v = math.floor(sums[c] * factor[c] + addend[c])
            code = (min((v - origin) * scale, cap) + ROUND) - ROUND + plus
            code = code if v >= least else below
            code = c2 if v >= t2 else code
            code = c3 if v >= t3 else code
            code = c4 if v >= t4 else code
            code = c5 if v >= t5 else code
            made[c] = np.uint8(np.int32(code))


@machine_code
def _activate_pieces(
    acc: Sums,
    factor: Doubles,
    addend: Doubles,
    pieces: Pieces,
    v: Doubles,
    y: Doubles,
    codes: Codes,
    count: int,
) -> None:
    """Any pieces, one after the other over all values; a later one writes over an earlier one where it holds."""
    first, start, slope, add, rounding = pieces
    span = len(factor)
    for begin in range(0, count, span):
        sums, values = acc[begin : begin + span], v[begin : begin + span]
        for c in range(span):
            values[c] = math.floor(sums[c] * factor[c] + addend[c])
    for i in range(count):
        y[i] = add[0]
    for k in range(len(first)):
        least, origin, scale, plus = first[k], start[k], slope[k], add[k]
        if scale == 0.0 or rounding[k] == HALF_EVEN:  # of a constant piece the product is 0
            for i in range(count):
                product = min((v[i] - origin) * scale, PRODUCT_LIMIT)
                y[i] = (product + ROUND) - ROUND + plus if v[i] >= least else y[i]
        elif rounding[k] == HALF_UP:
            for i in range(count):
                product = min((v[i] - origin) * scale, PRODUCT_LIMIT)
                y[i] = math.floor(product + 0.5) + plus if v[i] >= least else y[i]
        else:
            to_even = rounding[k] == FALLING_EVEN
            for i in range(count):
                code = _fall(max((v[i] - origin) * scale, -PRODUCT_LIMIT), to_even) + plus
                y[i] = code if v[i] >= least else y[i]
    for i in range(count):
        codes[i] = np.uint8(np.int32(min(max(y[i], 0.0), 255.0)))


@machine_code
def _fall(product: float, to_even: bool) -> float:
    """Round a negative product: its floor, less one from over a half on, or from a half on (see ``arithmetic``)."""
    floor = math.floor(product)
    fraction = product - floor
    odd = floor * 0.5 != math.floor(floor * 0.5)
    return floor - (1.0 if fraction > 0.5 or (fraction == 0.5 and (odd or not to_even)) else 0.0)


@machine_code
def _copy(source: Codes, target: Codes) -> None:
    """Copy all of source to the beginning of target; assigning a slice would first look for an overlap."""
    for i in range(len(source)):
        target[i] = source[i]


@machine_code
def _with_border(image: Codes, pad_value: int, bordered: Codes) -> None:
    """Copy an H×W×C image into the middle of (H+2)×(W+2)×C and set the border."""
    height, width, channels = image.shape
    source = image.reshape(height, width * channels)
    target = bordered.reshape(height + 2, (width + 2) * channels)
    target[0] = pad_value
    target[height + 1] = pad_value
    for row in range(height):
        line = target[row + 1]
        line[:channels] = pad_value
        line[-channels:] = pad_value
        _copy(source[row], line[channels:])


@machine_code
def _repeat(values: Doubles, period: int, times: int) -> Doubles:
    """Return values[:period], ``times`` times."""
    out = np.empty((times, period), np.float64)
    for row in range(times):
        for i in range(period):
            out[row, i] = values[i]
    return out.reshape(-1)


@machine_code
def convolve_tiles(
    x: Codes,
    bordered: Codes,
    weights: Weights,
    kernel: int,
    pad_value: int,
    step: int,
    skip: int,
    factor: Doubles,
    addend: Doubles,
    pieces: Pieces,
    out: Codes,
) -> None:
    """Convolve, normalise and activate.

    Args:
        x: uint8 N×H×W×C, C a multiple of 4.
        bordered: room for a 3×3 kernel's image with its border, uint8 (H+2)×(W+2)×C.
        weights: int8 vectors × groups × 16 × 4.
        kernel: 1 or 3; ``pad_value`` is the code outside the map.
        step, skip: compute output pixels at rows 0, step, … and columns skip, skip + step, …
        factor, addend: float64, one an output channel, padded to whole vectors; then the pieces.
        out: uint8 N×H'×W'×C', filled.
    """
    count, height, width, channels = x.shape
    out_height, out_width, out_channels = out.shape[1:]
    vectors, all_groups = weights.shape[:2]
    groups = all_groups // kernel
    w_step = all_groups * LANES * GROUP
    acc = np.zeros(TILE + WIDE, np.int32)
    u = np.empty(TILE + WIDE, np.float64)
    y = np.empty(TILE + WIDE, np.float64)
    codes = np.empty(TILE + WIDE, np.uint8)
    flat = kernel == 1 and step == 1  # the rows follow each other without a gap
    rows, row_pixels = (1, height * width) if flat else (out_height, out_width)
    row_bytes = (width + kernel - 1) * channels
    for n in range(count):
        if kernel == 3:
            _with_border(x[n], pad_value, bordered)
            base = bordered.ctypes.data
        else:
            base = x[n].ctypes.data
        target = out[n].reshape(out_height * out_width, out_channels)
        for vector in range(0, vectors, 4):
            vectors_here = min(4, vectors - vector)
            channel = vector * LANES
            wide = vectors_here * LANES
            stored = min(wide, out_channels - channel)
            w = weights.ctypes.data + vector * w_step
            factors = _repeat(factor[channel:], wide, WIDE // wide)
            addends = _repeat(addend[channel:], wide, WIDE // wide)
            rows_a_tile = max(1, TILE // (row_pixels * wide))
            pixels_a_tile = min(row_pixels, max(BLOCK, TILE // wide // BLOCK * BLOCK))
            for row in range(0, rows, rows_a_tile):
                rows_here = min(rows_a_tile, rows - row)
                for pixel in range(0, row_pixels, pixels_a_tile):
                    pixels = min(pixels_a_tile, row_pixels - pixel)
                    for r in range(rows_here):
                        source = base + (row + r) * step * row_bytes + (skip + pixel * step) * channels
                        dot_products(
                            source, step * channels, kernel, row_bytes, groups, w, w_step,
                            acc.ctypes.data + r * pixels * wide * 4, pixels, vectors_here,
                        )  # fmt: skip
                    made = rows_here * pixels
                    _activate(acc, factors, addends, pieces, u, y, codes, made * wide)
                    place = row * row_pixels + pixel
                    if stored == out_channels == wide:
                        _copy(codes[: made * wide], target[place:].reshape(-1))
                    else:
                        for p in range(made):
                            _copy(codes[p * wide : p * wide + stored], target[place + p, channel:])


@machine_code
def convolve_depthwise(
    x: Codes,
    bordered: Codes,
    weights: Weights,
    kernel: int,
    pad_value: int,
    step: int,
    skip: int,
    factor: Doubles,
    addend: Doubles,
    pieces: Pieces,
    out: Codes,
) -> None:
    """As ``convolve_tiles``, each channel by itself; weights 9 × C (1×1 kernels: eight rows of 0).

    Pixels and channels of a row are one line of numbers: nine lines, shifted by the kernel's offsets, are multiplied by
    the weights, repeated along the line, and added.
    """
    count, _, width, channels = x.shape
    out_height, out_width = out.shape[1:3]
    pixels_a_tile, repeats = max(1, TILE // 2 // channels), -(-WIDE // channels)
    size = (pixels_a_tile + repeats) * channels
    acc = np.zeros(size, np.int32)
    u, y = np.empty(size, np.float64), np.empty(size, np.float64)
    codes = np.empty(size, np.uint8)
    lines = bordered.reshape(-1)
    line = (width + 2) * channels
    factors, addends = _repeat(factor, channels, repeats), _repeat(addend, channels, repeats)
    repeated = np.empty((9, pixels_a_tile, channels), np.int8)
    for tap in range(9):
        for pixel in range(pixels_a_tile):
            for c in range(channels):
                repeated[tap, pixel, c] = weights[tap, c]
    along = repeated.reshape(9, -1)
    w0, w1, w2, w3, w4 = along[0], along[1], along[2], along[3], along[4]
    w5, w6, w7, w8 = along[5], along[6], along[7], along[8]
    for n in range(count):
        _with_border(x[n], pad_value, bordered)
        for row in range(out_height):
            for pixel in range(0, width, pixels_a_tile):
                pixels = min(pixels_a_tile, width - pixel)
                top = lines[row * step * line + pixel * channels :]
                x0, x1, x2 = top, top[channels:], top[2 * channels :]
                x3, x4, x5 = x0[line:], x1[line:], x2[line:]
                x6, x7, x8 = x3[line:], x4[line:], x5[line:]
                for i in range(pixels * channels):
                    acc[i] = (
                        x0[i] * w0[i] + x1[i] * w1[i] + x2[i] * w2[i]
                        + x3[i] * w3[i] + x4[i] * w4[i] + x5[i] * w5[i]
                        + x6[i] * w6[i] + x7[i] * w7[i] + x8[i] * w8[i]
                    )  # fmt: skip
                _activate(acc, factors, addends, pieces, u, y, codes, pixels * channels)
                if step == 1:
                    _copy(codes[: pixels * channels], out[n, row, pixel:].reshape(-1))
                else:
                    for p in range(pixels):
                        column = (pixel + p - skip) // step
                        if (pixel + p - skip) % step == 0 and column < out_width:
                            _copy(codes[p * channels : (p + 1) * channels], out[n, row, column])


@machine_code
def activate_rows(
    acc: Sums,
    factor: Doubles,
    addend: Doubles,
    pieces: Pieces,
    codes: Codes,
) -> None:
    """Turn int32 sums, rows × channels, into codes; for sums that were made elsewhere."""
    rows, channels = acc.shape
    tile, repeats = max(1, TILE // 2 // channels), -(-WIDE // channels)
    size = (tile + repeats) * channels
    factors, addends = _repeat(factor, channels, repeats), _repeat(addend, channels, repeats)
    sums, u, y = np.zeros(size, np.int32), np.empty(size, np.float64), np.empty(size, np.float64)
    made = np.empty(size, np.uint8)
    source, target = acc.reshape(-1), codes.reshape(-1)
    for row in range(0, rows, tile):
        begin, count = row * channels, min(tile, rows - row) * channels
        for i in range(count):
            sums[i] = source[begin + i]
        _activate(sums, factors, addends, pieces, u, y, made, count)
        for i in range(count):
            target[begin + i] = made[i]
