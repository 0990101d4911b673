"""Capping activation shifts, for runtimes that know only small ones.

nncase 0.2 wrote shifts up to 20, and its PC runtime computes ``1 << (shift − 1)`` in 32 bits; nncase 1.x writes shifts
up to 43, because it lets the batch-norm's result v grow to 31 bits. Lowering the activation's shift alone would leave
nothing of its factor (16384 / 2³⁷ at shift 20 is 0), so v itself is made 2ᵏ smaller: first by the batch-norm's
shift, which has room up to 15 and costs nothing, then by its factor, then by the activation's factor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import Int64s, KpuConv, pack_activation, pack_batch_norm

Float64s = npt.NDArray[np.float64]

MAX_BN_SHIFT: Final = 15
LOWEST_START: Final = -(1 << 35)
MUL_LIMIT: Final = 1 << 15
GRID: Final = 512
"""Points a channel at which the change is measured."""
COARSE_GRID: Final = 32
"""Points a channel at which ways of capping are compared."""


@dataclass(frozen=True)
class Capped:
    """A convolution with capped shifts.

    Attributes:
        conv: the convolution.
        worst_change: the largest change of the activation's result before rounding, in codes, over a grid of
            accumulator values a channel that spans the activation's range.
    """

    conv: KpuConv
    worst_change: float


def cap_shifts(conv: KpuConv, limit: int) -> Capped:
    """Return a convolution whose activation shifts are at most ``limit``.

    Raises:
        KmodelError: ``limit`` is below 1, or the activation's first segment is not flat.
    """
    if limit < 1:
        raise KmodelError(f"activation shifts cannot be capped at {limit}")
    shift, mul = conv.activation.shift, conv.activation.mul
    if not (shift[mul != 0] > limit).any():
        return Capped(conv, 0.0)
    if mul[0] != 0:
        raise KmodelError(f"{conv.name}: its activation's first segment is not flat, so its shifts cannot be capped")
    excess = int(shift[mul != 0].max()) - limit
    candidates = [_scale(conv, by, limit) for by in range(excess + 1)]
    best = min(candidates, key=lambda candidate: _change(conv, candidate, COARSE_GRID))
    return Capped(best, _change(conv, best, GRID))


def _scale(conv: KpuConv, by: int, limit: int) -> KpuConv:
    """Make v 2^by smaller in the batch-norm, and take what is still over the limit from the activation's factors."""
    bn, act = conv.batch_norm, conv.activation
    more = np.minimum(MAX_BN_SHIFT - bn.shift, by)
    bn_mul = _divide(bn.mul, by - more)
    add = _divide(bn.add, np.full_like(bn.add, by))
    start = _divide(act.start, np.full_like(act.start, by))
    start[0] = LOWEST_START
    shift = act.shift - by
    mul = np.where(act.mul == 0, 0, _divide(act.mul, np.maximum(shift - limit, 0)))
    shift = np.where(act.mul == 0, 0, np.minimum(shift, limit))
    # A segment steeper than 2^-by has no shift left to give; its factor grows instead, as far as its 16 bits go.
    mul = np.clip(mul << np.maximum(-shift, 0), -MUL_LIMIT, MUL_LIMIT - 1)
    shift = np.maximum(shift, 0)
    return replace(
        conv,
        batch_norm=pack_batch_norm(bn_mul, add, bn.shift + more),
        activation=pack_activation(start, mul, shift, act.add),
    )


def _divide(values: Int64s, by: Int64s) -> Int64s:
    """Divide by 2^by, rounded to nearest."""
    half: Int64s = np.where(by > 0, np.int64(1) << np.maximum(by - 1, 0), np.int64(0))
    result: Int64s = (values + half) >> by
    return result


def _change(before: KpuConv, after: KpuConv, points: int) -> float:
    """Measure the change in codes: accumulators that take v from the first sloped segment to full scale."""
    bn = before.batch_norm
    low, high = _span(before)
    v = np.linspace(low, high, points)[None, :]
    mul = bn.mul[:, None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        acc = (v - bn.add[:, None]) * np.exp2(bn.shift[:, None]) / mul
    acc = np.rint(np.where(mul == 0, 0, acc)).clip(-(2**38), 2**38).astype(np.int64)
    return float(np.abs(_real_codes(before, acc) - _real_codes(after, acc)).max())


def _span(conv: KpuConv) -> tuple[float, float]:
    """Return v from a little before the first sloped segment to a little behind where the last one saturates."""
    act = conv.activation
    sloped = np.flatnonzero(act.mul)
    first, last = int(sloped[0]), int(sloped[-1])
    slope = abs(float(act.mul[last])) / 2.0 ** float(act.shift[last])
    low, high = float(act.start[first]), float(act.start[last]) + 255 / slope
    margin = (high - low) / 64
    return low - margin, high + margin


def _real_codes(conv: KpuConv, acc: Int64s) -> Float64s:
    """Return the activation's results before rounding, clamped to 0…255."""
    bn, act = conv.batch_norm, conv.activation
    # float64 is exact enough here: the result is a measurement, and v has 36 bits.
    v = np.floor(acc * bn.mul[:, None].astype(np.float64) / np.exp2(bn.shift[:, None])) + bn.add[:, None]
    segment = np.maximum(np.searchsorted(act.start, v, side="left") - 1, 0)
    slope = act.mul / np.exp2(act.shift.astype(np.float64))
    codes: Float64s = np.clip((v - act.start[segment]) * slope[segment] + act.add[segment], 0, 255)
    return codes
