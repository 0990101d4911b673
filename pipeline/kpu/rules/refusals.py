"""Why nncase refuses a layer."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site

LEFT_OVER = frozenset({"clamp", "fused_unary", "conv2d_transpose"})
"""nncase's names of operators that have rules of their own."""


def refused_as(site: Site, *operators: str) -> str | None:
    """Return why nncase refuses the layer, where what it refuses is one of nncase's ``operators``."""
    for refusal in site.prediction.refusals:
        if refusal.layer == site.layer.name and refusal.op in operators:
            return refusal.why
    return None
