"""Runs a KPU layer with the compiled functions: packs what they need once, then takes maps and gives maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.kmodel.registers import Pool
from pipeline.kpu.arithmetic import pool_window
from pipeline.kpu.simulator import compiled, pooling
from pipeline.kpu.simulator.memory import Arena, Codes, KpuMap
from pipeline.kpu.simulator.plan import Plan
from pipeline.kpu.simulator.vnni import GROUP, LANES

Float64s = npt.NDArray[np.float64]
LayerRun = Callable[[KpuMap, Arena], KpuMap]
INT32_LIMIT = 1 << 31
PICKED = {Pool.NONE: (1, 0), Pool.LEFT_TOP_2: (2, 0), Pool.RIGHT_TOP_2: (2, 1), Pool.LEFT_TOP_4: (4, 0)}
"""The pools that only pick a pixel, as (step, first column): what they drop is never computed."""
MAXIMA = (Pool.MAX_2_STRIDE_2, Pool.MAX_4_STRIDE_4, Pool.MAX_2_STRIDE_1)


class LastChannelMap:
    """Maps as uint8 N×H×W×C', channels last and padded to a multiple of four."""

    def __init__(self, array: Codes, channels: int) -> None:
        self.array = array
        self.channels = channels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, channels, height, width)."""
        images, height, width, _ = self.array.shape
        return images, self.channels, height, width

    def codes(self) -> Codes:
        """The maps as a numpy array N×C×H×W."""
        return np.ascontiguousarray(self.array[..., : self.channels].transpose(0, 3, 1, 2))

    def release(self, arena: Arena) -> None:
        """Give the array back."""
        arena.give(self.array)


def last_channel_map(value: KpuMap, arena: Arena) -> LastChannelMap:
    """Return a copy of maps with the channels last."""
    images, channels, height, width = value.shape
    array = arena.take(images, height, width, round_up(channels, GROUP))
    pooling.channels_last(np.ascontiguousarray(value.codes()), array)
    return LastChannelMap(array, channels)


def round_up(count: int, unit: int) -> int:
    """Return the least multiple of ``unit`` that is not below ``count``."""
    return -(-count // unit) * unit


def fused_layer(plan: Plan) -> LayerRun | None:
    """Return a function that runs the layer, or None where int8 products do not do (see ``Plan``)."""
    if not plan.exact or not plan.int8_weights or plan.limit >= INT32_LIMIT:
        return None
    layer = plan.layer
    step, skip = PICKED.get(layer.pool, (1, 0))
    stored = round_up(layer.out_channels, GROUP)
    if layer.depthwise:
        weights = pack_depthwise(plan)
        convolve = compiled.convolve_depthwise
        factor, addend = padded(plan.factor, stored), padded(plan.addend, stored)
    else:
        weights = pack_weights(plan)
        convolve = compiled.convolve_tiles
        lanes = round_up(layer.out_channels, LANES)
        factor, addend = padded(plan.factor, lanes), padded(plan.addend, lanes)

    def run(value: KpuMap, arena: Arena) -> KpuMap:
        source = value if isinstance(value, LastChannelMap) else last_channel_map(value, arena)
        images, _, height, width = source.shape
        made = arena.take(images, height // step, width // step, stored)
        margin = 0 if convolve is compiled.convolve_tiles and layer.kernel == 1 else 1
        bordered = arena.take(height + 2 * margin, width + 2 * margin, source.array.shape[3])
        size = (layer.kernel, layer.pad_value, step, skip)
        convolve(source.array, bordered, weights, *size, factor, addend, plan.pieces, made)
        arena.give(bordered)
        if source is not value:
            source.release(arena)
        return LastChannelMap(pooled(made, layer.pool, arena), layer.out_channels)

    return run


def pooled(codes: Codes, pool: Pool, arena: Arena) -> Codes:
    """Pool N×H×W×C codes that are at full resolution unless the pool only picks."""
    if pool in PICKED:
        return codes
    size, stride = pool_window(pool)
    images, height, width, channels = codes.shape
    out = arena.take(images, height // stride, width // stride, channels)
    (pooling.pool_maximum if pool in MAXIMA else pooling.pool_mean)(codes, size, stride, out)
    arena.give(codes)
    return out


def pack_weights(plan: Plan) -> npt.NDArray[np.int8]:
    """Return weights as vectors × groups × 16 outputs × 4 inputs, groups in the order of a pixel's neighbourhood."""
    out_channels, in_channels, kernel, _ = plan.weights.shape
    lanes, depth = round_up(out_channels, LANES), round_up(in_channels, GROUP)
    wide = np.zeros((lanes, kernel, kernel, depth), np.int8)
    wide[:out_channels, :, :, :in_channels] = plan.weights.transpose(0, 2, 3, 1)
    groups = wide.reshape(lanes // LANES, LANES, kernel * kernel * depth // GROUP, GROUP)
    return np.ascontiguousarray(groups.transpose(0, 2, 1, 3))


def pack_depthwise(plan: Plan) -> npt.NDArray[np.int8]:
    """Return weights as 9 × C; a 1×1 kernel is the middle of a 3×3 one."""
    channels, kernel, _ = plan.weights.shape
    wide = np.zeros((9, round_up(channels, GROUP)), np.int8)
    wide[slice(9) if kernel == 3 else slice(4, 5), :channels] = plan.weights.reshape(channels, -1).T
    return wide


def padded(values: Float64s, length: int) -> Float64s:
    """Return values with zeros behind them."""
    result = np.zeros(length)
    result[: len(values)] = values
    return result
