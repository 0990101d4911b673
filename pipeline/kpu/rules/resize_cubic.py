"""Cubic resizes."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="nearest or linear",
    replacement="a linear Resize with pytorch_half_pixel",
    source="measured with nncase 1.9.0.20230322: relative error 0.25",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 knows nearest and linear resizes only, and takes cubic for one of them without a word."""
    return "cubic" if site.layer.op == "Resize" and site.layer.attributes.get("mode") == "cubic" else None
