"""A KPU layer rewritten in floating point without losing a bit.

*Sums of products.* With ``shr_x`` = 0, ``x·w + arg_x·x = x·(w + arg_x)``: the zero point goes into the weights, which
for nncase's zero point of 128 become int8. A dot product of uint8 and int8 in int32 is exact; so is float32 as long as
every partial sum stays below 2²⁴.

*Batch-norm.* ``v = floor(u)`` with ``u = acc·(bn_mul/2^bn_shift) + bn_add``, in float64: |acc·bn_mul| < 2⁵³, dividing
by a power of two loses nothing, and the sum is a multiple of 2^−bn_shift below 2^(53 − bn_shift). The terms of the sum
that no pixel changes go into the addend.

*Activation.* The sixteen segments become at most seventeen ``Pieces``. A segment that nothing reaches is dropped, one
over which the code does not change becomes a constant, and neighbours with the same constant become one: of nncase's
ReLU tables five pieces are left, one of them sloped. On a sloped piece ``(v − start)·mul`` has at most 52 bits, so the
product with ``mul/2^shift`` in float64 is exact, and so is its rounding.

All of these bounds are checked for the layer at hand (``exact``), from its own weights; a layer that breaks one is run
by the reference. No layer of any known kmodel does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.kpu.arithmetic import Layer, Variant, activate, constant_terms

Float64s = npt.NDArray[np.float64]
CODES: Final = 256
FLOAT64_BITS: Final = 53
PRODUCT_LIMIT: Final = 512.0
"""Products are cut here before rounding: with an addition of 0 to 255 the code is 255 from 255 on (0 below −255)."""


class Pieces(NamedTuple):
    """An activation as steps: piece k holds from ``u ≥ first[k]`` on, until the next; ``first[0]`` is −∞.

    ``y = clamp(round((floor(u) − start)·slope) + add, 0, 255)``; ``slope`` is 0 on a constant piece, whose code is
    ``add``. ``rounding`` is the rule of a sloped piece: 0 constant, 1 half to even, 2 half up, 3 and 4 nncase's two
    treatments of a negative product (see ``pipeline.kpu.arithmetic``).
    """

    first: Float64s
    start: Float64s
    slope: Float64s
    add: Float64s
    rounding: npt.NDArray[np.int64]


CONSTANT, HALF_EVEN, HALF_UP, FALLING_EVEN, FALLING_UP = range(5)
_Row = tuple[float, float, float, float, int]
"""One piece: first, start, slope, add, rounding."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A layer, ready to run.

    Attributes:
        layer: what it is a plan of.
        variant: which reading of the activation.
        weights: int32, the layer's with ``arg_x`` added; as they are where ``shr_x`` > 0.
        sum_x: whether ``arg_x·Σx >> shr_x`` is still to be added to each sum.
        factor, addend: float64, one an output channel: ``u = acc·factor + addend``.
        pieces: the activation.
        limit: the largest |sum of products| that the weights and any codes can give, over any part of the window.
        exact: whether float64 holds everything; if not, only the reference may run the layer.
    """

    layer: Layer
    variant: Variant
    weights: npt.NDArray[np.int32]
    sum_x: bool
    factor: Float64s
    addend: Float64s
    pieces: Pieces
    limit: int
    exact: bool

    @property
    def int8_weights(self) -> bool:
        """Whether the weights fit int8 and nothing else is to be added."""
        return not self.sum_x and int(self.weights.min()) >= -128 and int(self.weights.max()) <= 127


def plan_layer(layer: Layer, variant: Variant) -> Plan:
    """Return a layer's plan."""
    sum_x = layer.shr_x > 0 and layer.arg_x != 0
    folded = layer.weights.astype(np.int64) + (0 if sum_x else layer.arg_x)
    per_channel = np.abs(folded).reshape(layer.out_channels, -1).sum(axis=1) * (CODES - 1)
    limit = per_channel.max()
    if sum_x:
        window = layer.weights[0].size
        per_channel = per_channel + (abs(layer.arg_x) * (CODES - 1) * window >> layer.shr_x) + 1
    constants = constant_terms(layer)
    reach = [int(p) + abs(int(c)) for p, c in zip(per_channel, constants, strict=True)]
    # Python integers: whether these overflow 64 bits is what is to be found out.
    numerators = [
        (int(c) * int(mul) + (int(add) << int(shift)))
        for c, mul, add, shift in zip(constants, layer.bn_mul, layer.bn_add, layer.bn_shift, strict=True)
    ]
    largest = max(
        r * abs(int(mul)) + (abs(int(add)) << int(shift))
        for r, mul, add, shift in zip(reach, layer.bn_mul, layer.bn_add, layer.bn_shift, strict=True)
    )
    scale = np.ldexp(1.0, -layer.bn_shift.astype(np.int64))
    bound = max(
        (r * abs(int(mul)) >> int(shift)) + abs(int(add)) + 1
        for r, mul, add, shift in zip(reach, layer.bn_mul, layer.bn_add, layer.bn_shift, strict=True)
    )
    exact = largest < 1 << FLOAT64_BITS and int(np.abs(folded).max()) < 1 << 31
    return Plan(
        layer=layer,
        variant=variant,
        weights=folded.astype(np.int32),
        sum_x=sum_x,
        factor=layer.bn_mul * scale,
        addend=np.array([float(n) for n in numerators]) * scale,
        pieces=pieces_of(layer, variant, min(bound, 1 << 52)),
        limit=int(limit),
        exact=exact,
    )


def pieces_of(layer: Layer, variant: Variant, bound: int) -> Pieces:
    """Return the pieces of a layer's activation for −bound ≤ v ≤ bound."""
    firsts = [-bound - 1] + [int(start) + (0 if variant.inclusive else 1) for start in layer.start[1:]]
    rows: list[_Row] = []
    end = bound  # the last v that no later segment takes
    for segment, low in reversed(list(enumerate(firsts))):
        if low > end:
            continue
        begins = int(layer.start[segment])
        if low < begins <= end:  # segment 0 below its start, where its products have the other sign
            rows.append(_piece(layer, variant, segment, begins, end))
            end = begins - 1
        rows.append(_piece(layer, variant, segment, low, end))
        end = low - 1
    rows.reverse()
    kept: list[_Row] = []
    for row in rows:
        if kept and kept[-1][4] == CONSTANT and row[4] == CONSTANT and kept[-1][3] == row[3]:
            continue
        kept.append(row)
    first, start, slope, add = (np.array([row[i] for row in kept], np.float64) for i in range(4))
    first[0] = -np.inf
    return Pieces(first, start, slope, add, np.array([row[4] for row in kept], np.int64))


def _piece(layer: Layer, variant: Variant, segment: int, low: int, high: int) -> _Row:
    """Return one segment over low ≤ v ≤ high, all on one side of its start: constant where it is."""
    mul, start = int(layer.mul[segment]), int(layer.start[segment])
    ends = activate(layer, np.array([low, high]), variant)
    negative = (mul < 0) == (high > start) and mul != 0
    if ends[0] == ends[1] and not negative:  # monotone, so nothing differs in between (negative products are not)
        return float(low), 0.0, 0.0, float(ends[0]), CONSTANT
    slope = float(np.ldexp(float(mul), -int(layer.shift[segment])))
    if negative:
        rounding = FALLING_EVEN if variant.half_to_even else FALLING_UP
    else:
        rounding = HALF_EVEN if variant.half_to_even else HALF_UP
    return float(low), float(start), slope, float(layer.add[segment]), rounding
