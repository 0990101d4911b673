"""Operators, and forms of them, that nncase does not take."""

from __future__ import annotations

from pipeline.kpu.rules.refusals import LEFT_OVER
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="the operators that nncase 1.9 imports, in the forms that it imports",
    replacement=(
        "the operator written with others (GELU by Tanh, Mish by Softplus and Tanh), or learned (`kpufit replace`)"
    ),
    source="nncase v1.9.0, src/importer/onnx; measured with 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 refuses the whole network for one operator that it does not know (GELU's Erf among them)."""
    for refusal in site.prediction.refusals:
        if refusal.layer == site.layer.name and refusal.op not in LEFT_OVER:
            return refusal.why
    return None
