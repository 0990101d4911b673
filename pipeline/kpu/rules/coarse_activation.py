"""Functions that sixteen straight lines follow only roughly."""

from __future__ import annotations

from pipeline.kpu.rules.folded import folded
from pipeline.kpu.rules.rule import Site, rule

_ROUGH = ("Pow", "Ceil", "Floor", "Round", "Sign", "Sin", "Cos", "ThresholdedRelu")


@rule(
    severity="accuracy",
    limit="no power, step or wave behind a convolution",
    replacement="ReLU or LeakyReLU, learned (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322: relative error 0.04 to 0.1",
)
def RULE(site: Site) -> str | None:
    """The KPU's activation is sixteen straight lines: powers, steps and waves become coarse."""
    function = folded(site)
    if function is None:
        return None
    # x·… ³ within GELU is a small part of it, and its Tanh evens it out
    return next((name for name in _ROUGH if name in function.operators and "Tanh" not in function.operators), None)
