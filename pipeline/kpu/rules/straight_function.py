"""Sums and products with a number behind a convolution, which are one straight line."""

from __future__ import annotations

import math

import numpy as np

from pipeline.kpu.rules.folded import folded
from pipeline.kpu.rules.rule import Site, rule

_REACH = 6.0
_STRAIGHT = 1e-9


@rule(
    severity="accuracy",
    limit="no sum or product with one number behind a convolution, but for a product with a power of two",
    replacement="the number folded into the convolution's weights and bias, which is exact (`kpufit replace`)",
    source=(
        "measured with nncase 1.9.0.20230322 on 30 networks each: · 0.7 wrong in 7, ÷ 3 in 12, − 1 in 9 (relative "
        "error up to 4.8), · 2 in none; behind a Clip in 1 to 4"
    ),
)
def RULE(site: Site) -> str | None:
    """By chance of the calibrated range, all numbers are wrong: nncase 1.9 fits the activation's straight lines to
    samples of the function, and where all of them lie on one line but for rounding, the fit may collapse and give
    nearly every pixel the same value.
    """
    function = folded(site)
    if function is None or not function.operators or function.operators <= {"Relu", "LeakyRelu", "Clip"}:
        return None
    low, high = max(function.low, -_REACH), min(function.high, _REACH)
    if not low < high:
        return None
    x = np.linspace(low, high, 33)
    y = function.values(x)
    if not np.isfinite(y).all():
        return None
    slope = float(y[-1] - y[0]) / (high - low)
    offset = float(y[0]) - slope * low
    size = float(np.abs(y).max())
    if slope == 0 or np.abs(y - (slope * x + offset)).max() > _STRAIGHT * size:
        return None
    if abs(offset) < _STRAIGHT and math.frexp(abs(slope))[0] == 0.5:
        return None
    return f"f(x) = {slope:.3g}·x {'−' if offset < 0 else '+'} {abs(offset):.3g}"
