"""Activations whose least value is not at their least input."""

from __future__ import annotations

import numpy as np

from pipeline.kpu.rules.clipped_minimum import DEVIATION, WRONG, share_of_error
from pipeline.kpu.rules.folded import folded
from pipeline.kpu.rules.rule import Site, rule

_REACH = 4 * DEVIATION
_NOTICEABLE = 0.02
"""Of the range of the function's values."""


@rule(
    severity="accuracy",
    limit="an activation that grows with its input: ReLU, ReLU6, LeakyReLU, …",
    replacement="the same behind a clamp at its least value; ReLU, ReLU6 or LeakyReLU, learned (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322: SiLU gives −0.278, HardSwish −0.375 where the truth is near 0",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 maps inputs at or below the calibrated minimum to the code 0, the least value of the output's range,
    not to f(minimum): the strongest negative inputs get the value of the function's dip (SiLU, HardSwish, Mish,
    GELU).
    """
    function = folded(site)
    if function is None or not function.operators or function.operators <= {"Relu", "LeakyRelu", "Clip", "Sigmoid"}:
        return None
    low, high = max(function.low, -_REACH), min(function.high, _REACH)
    values = function.values(np.linspace(low, high, 97))
    if not np.isfinite(values).all() or share_of_error(function) > WRONG:
        return None  # the second is another rule's
    least, greatest = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if values[0] - least <= _NOTICEABLE * (greatest - least):
        return None
    return f"f({low:.3g}) = {values[0]:.2g}, least value {least:.2g}"
