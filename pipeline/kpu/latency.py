"""How long the KPU takes for a convolution.

Known: the KPU works through 64-byte rows of the input, one row a cycle for each pair of an input and an output channel:
64 pixels × 9 multipliers × 400 MHz are the 0.23 T multiplications a second that its maker declares
(https://bbs.sipeed.com/t/topic/691). Stride and pool are applied afterwards, so a layer costs its full resolution.
Weights, batch-norm and activation come from main memory in several loads (``limits.weight_loads``), each while the
KPU computes with the one before.

Fitted to ``measurements.LAYERS``, three numbers (``Parameters``): cycles before a layer starts, lines that each pair of
channels costs beyond those of the map, and cycles a byte of the loads. With them
``cycles = launch + max(load, compute) + min(load, compute) / loads``: the last term is the one load, or the computing
with one load, that nothing overlaps.

Not known, so every prediction says how sure it is: only 3×3 layers of 128 → 128 channels with 16-bit weights were
measured, at one pair of clocks. That a 1×1 convolution takes as many cycles as a 3×3 one, that a depthwise one
computes each channel once, and that 8-bit weights halve the traffic is assumed; so is that loads and launch keep pace
with the KPU's clock (they may follow the CPU's, which was 5/3 of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.kpu import measurements
from pipeline.kpu.limits import KPU_MEMORY_BYTES, weight_loads
from pipeline.kpu.measurements import Measurement
from pipeline.kpu.memory.feature_map import layout, map_bytes
from pipeline.kpu.memory.kmodel_size import ACTIVATION_BYTES, BATCH_NORM_BYTES

KPU_CLOCK_HZ = 400_000_000
"""MaixPy's default (https://wiki.sipeed.com/soft/maixpy/en/api_reference/Maix/freq.html: pll1 400, kpu_div 1) and what
Sipeed calls the normal clock (https://bbs.sipeed.com/t/topic/691). A board reports 398 MHz
(https://bbs.sipeed.com/t/topic/1811). Users may set 26 to 600 MHz."""

BUS_BYTES = 8
"""Most bytes a cycle that a load can bring: the DMA moves 64-bit words (kendryte-standalone-sdk, lib/drivers/kpu.c,
DMAC_TRANS_WIDTH_64). Only a limit to the fit; 4.6 is what it finds."""

EQUALLY_GOOD = 0.01**2
"""Sums of squared relative errors this close are taken as equal: the model is good to about one per cent."""

CPU_OPERATORS = (
    "operators on the CPU are not included, nor copies between main memory and the KPU: no figures for them are known; "
    "one MobileNet took 37 ms with its classifier on the KPU and 111 ms with it on the CPU"
)
"""What the time of a network leaves out (https://en.bbs.sipeed.com/t/topic/1790)."""

Confidence = Literal["measured size", "extrapolated", "tiled"]
"""From sure to unsure.

``measured size``: a dense 3×3 convolution on a map within the sizes that were measured. Its channels need not be 128.
``extrapolated``: any other kernel, a depthwise convolution, or a map of another size.
``tiled``: input and output do not fit the KPU's memory at once, so it does not run as one layer; the cycles are those
of the arithmetic alone, without the copies of tiles.
"""

_Floats = NDArray[np.float64]

_SURENESS: tuple[Confidence, ...] = ("measured size", "extrapolated", "tiled")


@dataclass(frozen=True)
class ConvWork:
    """One convolution as the KPU runs it.

    Attributes:
        in_channels: of the input.
        out_channels: of the output.
        height: of the input in pixels, which is what the KPU computes, whatever the stride or pool.
        width: of the input in pixels.
        kernel: its side, 1 or 3.
        depthwise: one filter a channel.
        shrink: side of the square of pixels of which stride or fused pool leave one.
        weight_bits: 8, as nncase writes them, or 16.
    """

    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: int
    depthwise: bool = False
    shrink: int = 1
    weight_bits: int = 8

    @property
    def loads(self) -> int:
        """In how many portions the weights come; 16-bit weights take the place of two."""
        return weight_loads(self.in_channels * self.weight_bits // 8, self.out_channels, self.kernel, self.depthwise)

    @property
    def load_bytes(self) -> int:
        """Weights, batch-norm and activation."""
        inputs = 1 if self.depthwise else self.in_channels
        weights = self.kernel**2 * inputs * self.out_channels * self.weight_bits // 8
        return weights + BATCH_NORM_BYTES * self.out_channels + ACTIVATION_BYTES

    @property
    def line_cycles(self) -> int:
        """Cycles for one line of the map: its rows, once for each output channel."""
        place = layout(self.width)
        rows = place.rows_a_line * -(-self.in_channels // place.channels_a_row)
        return rows if self.depthwise else rows * self.out_channels

    @property
    def fits(self) -> bool:
        """Whether the KPU's memory holds input and output at once."""
        output = map_bytes(self.out_channels, self.height // self.shrink, self.width // self.shrink)
        return map_bytes(self.in_channels, self.height, self.width) + output <= KPU_MEMORY_BYTES


@dataclass(frozen=True)
class Parameters:
    """What is fitted.

    Attributes:
        launch: cycles before a layer starts.
        fill: lines that each pair of channels costs beyond those of the map (the window is three lines high).
        cycles_a_byte: of the loads.
    """

    launch: float
    fill: float
    cycles_a_byte: float


@dataclass(frozen=True)
class Latency:
    """A predicted time, of one layer or of several.

    Attributes:
        cycles: of the KPU's clock, in all.
        compute_cycles: in which it computes.
        load_cycles: in which weights, batch-norm and activation come; mostly while it computes.
        confidence: how sure it is.
    """

    cycles: int
    compute_cycles: int
    load_cycles: int
    confidence: Confidence

    def milliseconds(self, clock_hz: float = KPU_CLOCK_HZ) -> float:
        """Return the time at a clock of the KPU."""
        return 1000 * self.cycles / clock_hz


def latency(work: ConvWork, parameters: Parameters | None = None) -> Latency:
    """Return how long the KPU takes for one convolution.

    Args:
        work: the convolution.
        parameters: other ones than those fitted to all layers that were measured.
    """
    used = parameters or fitted()
    compute = work.line_cycles * (work.height + used.fill)
    load = work.load_bytes * used.cycles_a_byte
    cycles = used.launch + max(load, compute) + min(load, compute) / work.loads
    return Latency(round(cycles), round(compute), round(load), _confidence(work))


def network_latency(layers: Iterable[Latency]) -> Latency:
    """Return the time of layers that run one after the other, as unsure as the least sure of them.

    It is the KPU's part of a network's time only: see ``CPU_OPERATORS``.
    """
    each = list(layers)
    return Latency(
        sum(layer.cycles for layer in each),
        sum(layer.compute_cycles for layer in each),
        sum(layer.load_cycles for layer in each),
        max((layer.confidence for layer in each), key=_SURENESS.index, default="measured size"),
    )


def measured_work(measurement: Measurement) -> ConvWork:
    """Return the convolution that was measured."""
    return ConvWork(
        measurements.CHANNELS,
        measurements.CHANNELS,
        measurement.height,
        measurement.width,
        measurements.KERNEL,
        weight_bits=measurements.WEIGHT_BITS,
    )


@cache
def fitted() -> Parameters:
    """Return the parameters fitted to every layer that was measured within the KPU's memory."""
    return fit(measurements.LAYERS)


def fit(layers: Sequence[Measurement]) -> Parameters:
    """Return the parameters with the least sum of squared relative errors.

    Cycles a byte are scanned between the bus's limit and one; for each, launch and fill follow in closed form, once it
    is settled which layers wait for their load. A layer that computes longer than it loads hardly shows how fast the
    loads are: of all values that are equally good, the middle is taken. So it is for layers of 16 lines and more alone;
    with a layer of 4 lines among them, the range is narrow.

    Args:
        layers: at least three.
    """
    works = [measured_work(layer) for layer in layers]
    cycles = np.array([layer.milliseconds * measurements.CLOCK_HZ / 1000 for layer in layers])
    line = np.array([work.line_cycles for work in works], float)
    height = np.array([work.height for work in works], float)
    loads = np.array([work.loads for work in works], float)

    rates = np.linspace(1 / BUS_BYTES, 1, 3501)[:, None]  # rates along axis 0, layers along axis 1
    load = rates * np.array([work.load_bytes for work in works], float)
    launch, fill = np.zeros_like(rates), np.zeros_like(rates)
    for _ in range(8):  # which layers wait depends on fill, which depends on which wait; it settles in two or three
        waits = load > line * (height + fill)
        visible = line * np.where(waits, 1 / loads, 1)  # of computing a line
        rest = cycles - np.where(waits, load, load / loads) - visible * height
        launch, fill = _straight_line(visible, rest, 1 / cycles**2)
    compute = line * (height + fill)
    predicted = launch + np.maximum(load, compute) + np.minimum(load, compute) / loads
    error = ((predicted / cycles - 1) ** 2).sum(axis=1)
    good = np.flatnonzero(error <= error.min() + EQUALLY_GOOD)
    middle = good[len(good) // 2]
    return Parameters(float(launch[middle, 0]), float(fill[middle, 0]), float(rates[middle, 0]))


def _straight_line(x: _Floats, y: _Floats, weight: _Floats) -> tuple[_Floats, _Floats]:
    """Return offset and slope of the weighted least-squares line through each row of points."""
    total = weight.sum()
    x_mean = (weight * x).sum(axis=1, keepdims=True) / total
    y_mean = (weight * y).sum(axis=1, keepdims=True) / total
    spread = (weight * (x - x_mean) ** 2).sum(axis=1, keepdims=True)
    slope = (weight * (x - x_mean) * (y - y_mean)).sum(axis=1, keepdims=True) / spread
    return y_mean - slope * x_mean, slope


def _confidence(work: ConvWork) -> Confidence:
    """Return how sure a prediction is."""
    if not work.fits:
        return "tiled"
    heights = [layer.height for layer in measurements.LAYERS]
    widths = [layer.width for layer in measurements.LAYERS]
    within = min(heights) <= work.height <= max(heights) and min(widths) <= work.width <= max(widths)
    if within and work.kernel == measurements.KERNEL and not work.depthwise:
        return "measured size"
    return "extrapolated"
