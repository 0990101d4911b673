"""Fully connected layers on the CPU."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="in the head, or in a kmodel v5 of at most 1024 inputs and outputs",
    replacement="a 1×1 convolution, or only one product, in the head",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """Outside the head a fully connected layer is one more float32 operator of the CPU: kmodels v3 and v4 hold it as
    such, and products of two computed matrices are always one.
    """
    layer = site.layer
    if layer.op not in ("Gemm", "MatMul") or site.predicted.unit != "cpu":
        return None
    if max(layer.in_shape[-1:] + layer.out_shape[-1:], default=0) > limits.MAX_CHANNELS:
        return None  # other rules'
    return f"{layer.in_shape[-1]} inputs" if site.network.weights(layer) else "a product of two computed matrices"
