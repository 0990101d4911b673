"""Functions behind a clamp whose lower end they do not map to their least value."""

from __future__ import annotations

import numpy as np

from pipeline.kpu.rules.folded import Folded, folded
from pipeline.kpu.rules.rule import Site, rule

DEVIATION = 1.5
"""Standard deviation of a convolution's results, before its clamp, that the numbers below assume; mean 0."""

WRONG = 0.1
"""Relative error from which numbers count as wrong."""
_SAMPLES = np.array([-2.4, -1.6, -1.2, -0.9, -0.65, -0.4, -0.2, 0.0, 0.2, 0.4, 0.65, 0.9, 1.2, 1.6, 2.4]) * DEVIATION
"""About evenly likely values of a normal distribution."""


@rule(
    severity="wrong-numbers",
    limit="f(lower end of the clamp) = min(0, the least value of f)",
    replacement="the clamp left out, or the function moved into the convolution behind it (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322: Clip(0, 6) and then + 0.5: relative error 0.30",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 maps inputs at the calibrated minimum to the code 0, which stands for the least of 0 and all values,
    not for f(minimum). Behind a Clip or ReLU, the minimum is what most pixels have: a clamp above 0, a sum, a
    Sigmoid or a sign change behind it get them all wrong.
    """
    function = folded(site)
    if function is None or share_of_error(function) <= WRONG:
        return None
    first, *_ = function.values(np.array([function.low]))
    return f"f({function.low:.3g}) = {first:.2g}"


def share_of_error(function: Folded) -> float:
    """Return the relative error over normally distributed results that the pixels at the clamp's lower end make."""
    if not np.isfinite(function.low) or (not function.operators and function.low <= 0):
        return 0.0
    values = function.values(_SAMPLES)
    size = float(np.sqrt(np.mean(values**2)))
    least = min(0.0, float(values.min()))
    wrong = np.where(function.low >= _SAMPLES, values - least, 0.0)
    return float(np.sqrt(np.mean(wrong**2))) / size if size and np.isfinite(size) else 0.0
