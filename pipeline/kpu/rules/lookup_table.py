"""Steep functions looked up on the CPU."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import works_on_cpu
from pipeline.kpu.rules.rule import Site, rule

_STEEP = frozenset({"Exp", "Log", "Pow", "ReduceLogSumExp", "Sqrt"})


@rule(
    severity="accuracy",
    limit="no Exp, Log, Sqrt or power of what the CPU computed",
    replacement="the function left to the host, behind the network",
    source="measured with nncase 1.9.0.20230322: ReduceLogSumExp 0.13",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 quantises the input to 256 steps and looks the function up: where it is steep, neighbouring steps are
    far apart.
    """
    if site.layer.op not in _STEEP or not works_on_cpu(site, "lut1d"):
        return None
    return site.layer.op
