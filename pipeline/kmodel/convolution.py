"""One KPU convolution: registers, weights, batch-norm, activation, and where it reads and writes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.kmodel.memory import Range
from pipeline.kmodel.registers import Registers

ACTIVATION_SEGMENTS: Final = 16
ACTIVATION_BYTES: Final = 144
"""16 × 8-byte segments, then 16 × 1-byte additions (kpu.h ``kpu_activate_table_t``)."""
BATCH_NORM_CHANNEL_BYTES: Final = 8
NAMED_BITS: Final = (1 << 60) - 1
"""Bits 60 to 63 of a batch-norm or activation word mean nothing; nncase ≥ 1.0 leaves them uninitialised."""

Int64s = npt.NDArray[np.int64]


def _signed(words: npt.NDArray[np.uint64], low: int, width: int) -> Int64s:
    """Return a signed field of each word: shifted up to the top bit, then down arithmetically."""
    return (words << np.uint64(64 - width - low)).view(np.int64) >> np.int64(64 - width)


def _unsigned(words: npt.NDArray[np.uint64], low: int, width: int) -> Int64s:
    return (words >> np.uint64(low) & np.uint64((1 << width) - 1)).astype(np.int64)


@dataclass(frozen=True)
class BatchNorm:
    """Per-channel ``v = (acc·mul >> shift) + add``; ``words`` are the stored 8 bytes a channel."""

    words: bytes

    @property
    def _u64(self) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self.words, dtype="<u8")

    @property
    def mul(self) -> Int64s:
        """Signed 24-bit factors, one a channel."""
        return _signed(self._u64, 0, 24)

    @property
    def add(self) -> Int64s:
        """Signed 32-bit additions, one a channel."""
        return _signed(self._u64, 24, 32)

    @property
    def shift(self) -> Int64s:
        """4-bit right shifts, one a channel."""
        return _unsigned(self._u64, 56, 4)

    def masked(self) -> BatchNorm:
        """Return it with the meaningless bits cleared."""
        return BatchNorm((self._u64 & np.uint64(NAMED_BITS)).tobytes())


@dataclass(frozen=True)
class Activation:
    """Sixteen linear segments ``y = round((v − start)·mul >> shift) + add``; ``table`` is the stored 144 bytes."""

    table: bytes

    @property
    def _u64(self) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self.table[:128], dtype="<u8")

    @property
    def shift(self) -> Int64s:
        """8-bit right shifts."""
        return _unsigned(self._u64, 0, 8)

    @property
    def mul(self) -> Int64s:
        """Signed 16-bit factors."""
        return _signed(self._u64, 8, 16)

    @property
    def start(self) -> Int64s:
        """Signed 36-bit segment starts; the first is −2³⁵."""
        return _signed(self._u64, 24, 36)

    @property
    def add(self) -> Int64s:
        """Unsigned 8-bit additions."""
        return np.frombuffer(self.table[128:], dtype=np.uint8).astype(np.int64)

    def masked(self) -> Activation:
        """Return it with the meaningless bits cleared."""
        return Activation((self._u64 & np.uint64(NAMED_BITS)).tobytes() + self.table[128:])


def pack_batch_norm(mul: Int64s, add: Int64s, shift: Int64s) -> BatchNorm:
    """Return the words of a batch-norm. Values are cut to their fields' widths."""
    words = (
        (mul.astype(np.uint64) & np.uint64((1 << 24) - 1))
        | (add.astype(np.uint64) & np.uint64((1 << 32) - 1)) << np.uint64(24)
        | (shift.astype(np.uint64) & np.uint64(0xF)) << np.uint64(56)
    )
    return BatchNorm(words.astype("<u8").tobytes())


def pack_activation(start: Int64s, mul: Int64s, shift: Int64s, add: Int64s) -> Activation:
    """Return the table of sixteen segments. Values are cut to their fields' widths."""
    words = (
        (shift.astype(np.uint64) & np.uint64(0xFF))
        | (mul.astype(np.uint64) & np.uint64(0xFFFF)) << np.uint64(8)
        | (start.astype(np.uint64) & np.uint64((1 << 36) - 1)) << np.uint64(24)
    )
    return Activation(words.astype("<u8").tobytes() + add.astype(np.uint8).tobytes())


@dataclass(frozen=True)
class KpuConv:
    """A convolution on the KPU with its batch-norm, activation and pool.

    Attributes:
        registers: the register block; channels, sizes, kernel, pool, zero points, row addresses.
        weights: uint8, output channels × input channels × k × k, or channels × k × k when depthwise.
        batch_norm: one entry an output channel.
        activation: the table, one a layer.
        source: KPU range of the input map, shape (1, C, H, W).
        target: KPU range of the output map (after the pool), shape (1, C, H, W).
        main_output: where the result is also written, dense C×H×W uint8 in general SRAM; v3 and v4 only (v5 has
            ``Download`` steps instead).
        batches: v4, v5: how many times it runs over consecutive maps (1 everywhere seen).
        name: "" or where it stands in the file ("k210 function 0, step 3").
    """

    registers: Registers
    weights: bytes
    batch_norm: BatchNorm
    activation: Activation
    source: Range
    target: Range
    main_output: Range | None = None
    batches: int = 1
    name: str = ""

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return (self.source,)

    @property
    def outputs(self) -> tuple[Range, ...]:
        """What it writes."""
        return (self.target,) if self.main_output is None else (self.target, self.main_output)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in, k, k), or (channels, k, k) when depthwise."""
        r = self.registers
        if r.depthwise:
            return (r.out_channels, r.kernel, r.kernel)
        return (r.out_channels, r.in_channels, r.kernel, r.kernel)

    @property
    def weight_array(self) -> npt.NDArray[np.uint8]:
        """The weights in ``weight_shape`` (read-only)."""
        return np.frombuffer(self.weights, dtype=np.uint8).reshape(self.weight_shape)

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-accumulates at full resolution, before the pool."""
        r = self.registers
        return r.weight_bytes * r.in_width * r.in_height
