"""Fully connected layers on the KPU."""

from __future__ import annotations

from pipeline.kpu.head import is_global_pool
from pipeline.kpu.rules.convolution import before, kernel
from pipeline.kpu.rules.rule import Site, rule

_OF_NNCASE = 5
"""The version that nncase 1.9 writes; kpufit writes the others itself."""


@rule(
    severity="accuracy",
    limit="a head in float, as kpufit writes it into kmodels v3 and v4",
    replacement="kmodel v4 or v3, which keep the head in float",
    source="measured with nncase 1.9.0.20230322: three to four times the error of a float head",
)
def RULE(site: Site) -> str | None:
    """In a kmodel v5, the vector is quantised, padded to 4×4 and multiplied by the KPU as a 1×1 convolution: 8 bits of
    logits, where a head in float costs next to nothing.
    """
    layer = site.layer
    if site.prediction.version != _OF_NNCASE or site.predicted.unit != "kpu":
        return None
    if layer.op in ("Gemm", "MatMul"):
        return f"{layer.in_shape[-1]} inputs"
    source = before(site, "Flatten", "Reshape")
    if kernel(site) != (1, 1) or source is None or not is_global_pool(source):
        return None
    return f"{layer.in_shape[1]} inputs"
