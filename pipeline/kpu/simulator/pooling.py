"""Pools over uint8 N×H×W×C maps, and the copy that puts channels last, compiled by Numba."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.kpu.simulator.jit import machine_code

Codes = npt.NDArray[np.uint8]


@machine_code
def pool_maximum(x: Codes, size: int, stride: int, out: Codes) -> None:
    """Maximum over size × size windows (2 or 4); pixels over the edge are left out."""
    height, width, channels = x.shape[1:]
    line = np.empty(width * channels, np.uint8)
    for n in range(out.shape[0]):
        lines = x[n].reshape(height, width * channels)
        for row in range(out.shape[1]):
            first = lines[row * stride]
            for i in range(len(line)):
                line[i] = first[i]
            for y in range(row * stride + 1, min(row * stride + size, height)):
                other = lines[y]
                for i in range(len(line)):
                    line[i] = max(line[i], other[i])
            reach = channels
            while reach < size * channels:  # each pixel with its neighbour, then each pair with the next
                right = line[reach:]
                for i in range(len(right)):
                    line[i] = max(line[i], right[i])
                reach *= 2
            _pick(line, stride * channels, out[n, row])


@machine_code
def pool_mean(x: Codes, size: int, stride: int, out: Codes) -> None:
    """Integer mean over size × size windows (2 or 4); pixels over the edge repeat the edge."""
    height, width, channels = x.shape[1:]
    total = np.empty((width + 1) * channels, np.uint16)
    line = np.empty(width * channels, np.uint8)
    shift = 2 if size == 2 else 4  # size² is 4 or 16
    for n in range(out.shape[0]):
        lines = x[n].reshape(height, width * channels)
        for row in range(out.shape[1]):
            total[:] = 0
            for y in range(row * stride, row * stride + size):
                other = lines[min(y, height - 1)]
                for i in range(len(other)):
                    total[i] += other[i]
            last, over = total[(width - 1) * channels :], total[width * channels :]
            for i in range(channels):
                over[i] = last[i]
            reach = channels
            while reach < size * channels:
                right = total[reach:]
                for i in range(len(right)):
                    total[i] += right[i]
                reach *= 2
            for i in range(len(line)):
                line[i] = np.uint8(total[i] >> shift)
            _pick(line, stride * channels, out[n, row])


@machine_code
def _pick(line: Codes, step: int, out: Codes) -> None:
    """Copy every pixel that begins a window."""
    pixels, channels = out.shape
    for pixel in range(pixels):
        source, target = line[pixel * step : pixel * step + channels], out[pixel]
        for c in range(channels):
            target[c] = source[c]


@machine_code
def channels_last(codes: Codes, out: Codes) -> None:
    """Copy uint8 N×C×H×W to N×H×W×C', C' ≥ C; what is behind C stays."""
    images, channels, height, width = codes.shape
    for n in range(images):
        for c in range(channels):
            for y in range(height):
                source, target = codes[n, c, y], out[n, y]
                for x in range(width):
                    target[x, c] = source[x]
