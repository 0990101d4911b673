"""Resizes whose factors are not given."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="scales, not sizes",
    replacement="the Resize exported with scales",
    source="measured with nncase 1.9.0.20230322 (only constant initialization is supported)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 reads the scales of a Resize and nothing else: one that gives sizes does not compile."""
    layer = site.layer
    if layer.op != "Resize" or len(layer.inputs) < 4 or not layer.inputs[3] or layer.inputs[2]:
        return None
    return "sizes without scales"
