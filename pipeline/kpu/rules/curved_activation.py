"""Functions that sixteen straight lines do not follow."""

from __future__ import annotations

import numpy as np

from pipeline.kpu.rules.folded import folded
from pipeline.kpu.rules.rule import Site, rule

_TAME_EXP = 3.0


@rule(
    severity="wrong-numbers",
    limit="no Exp, Softsign or Floor behind a convolution",
    replacement="Sigmoid, Tanh or ELU, or the function left to the host (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322: Exp 0.7 to 2.0, Softsign 0.69, Floor 0.21",
)
def RULE(site: Site) -> str | None:
    """The KPU's activation is sixteen straight lines with coefficients of few bits, and nncase 1.9 does not say how far
    they are from the function: those of Exp, Softsign and Floor are far.
    """
    function = folded(site)
    if function is None:
        return None
    for name in ("Softsign", "Floor", "Exp"):
        if name not in function.operators:
            continue
        if name == "Exp" and function.high <= _TAME_EXP:
            continue
        if name == "Floor" and function.low >= 0:
            continue
        return name if np.isinf(function.low) else f"{name} of values from {function.low:.3g} on"
    return None
