"""How fast the KPU was on a board: what others measured and published. Nothing here was measured by us.

The layers are from Sipeed, "MAIX performance and limit for AI models" (https://bbs.sipeed.com/t/topic/691): one 3×3
convolution, 128 → 128 channels, 16-bit weights, the KPU at 300 MHz, the CPU at 500 MHz. How often each was run, and
whether the maps were copied in and out within the time, is not said.
"""

from __future__ import annotations

from dataclasses import dataclass

CHANNELS = 128
KERNEL = 3
WEIGHT_BITS = 16
CLOCK_HZ = 300_000_000


@dataclass(frozen=True)
class Measurement:
    """The time of one layer of ``CHANNELS`` → ``CHANNELS`` channels."""

    height: int
    width: int
    milliseconds: float


LAYERS = (
    Measurement(4, 4, 0.339),
    Measurement(4, 16, 0.339),
    Measurement(16, 16, 0.417),
    Measurement(16, 32, 0.692),
    Measurement(32, 32, 1.138),
    Measurement(32, 64, 2.125),
    Measurement(64, 64, 3.891),
    Measurement(64, 128, 7.709),
)
"""Those whose input and output fit the KPU's memory at once."""

TILED_LAYERS = (Measurement(128, 128, 14.778), Measurement(256, 256, 57.756))
"""Those whose maps do not fit at once (2 and 8 MiB each for input and output): they must have run in tiles, or on
overlapping memory. Not used for the fit."""


@dataclass(frozen=True)
class NetworkMeasurement:
    """The time of MobileNetV1 ×0.75 at 224×224, called from MaixPy, operators on the CPU included."""

    milliseconds: float
    source: str


MOBILENET_075 = (
    NetworkMeasurement(
        37.0, "kmodel v3, https://en.bbs.sipeed.com/t/topic/1790: taken to be mbnet75, as it converts that"
    ),
    NetworkMeasurement(
        40.0, "kmodel v3, KPU 398 MHz, https://bbs.sipeed.com/t/topic/1811: taken to be the same network"
    ),
    NetworkMeasurement(74.9, "aXeleRate's documentation"),
    NetworkMeasurement(111.0, "kmodel v4 of the 37 ms one, its classifier's MatMul on the CPU, topic 1790"),
)
"""37 to 111 ms, by what runs on the CPU, so they only bound the KPU's time from above. Clocks are given for one alone;
the others are taken to be MaixPy's default of 400 MHz."""
