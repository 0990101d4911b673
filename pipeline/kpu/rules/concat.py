"""Concats."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="none",
    replacement="the convolutions that give its parts made to write one wider map, where exact (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU cannot join maps: nncase 1.9 brings all parts to main memory, dequantises them, joins them in float and
    quantises the whole again.
    """
    layer = site.layer
    if layer.op != "Concat" or len(layer.inputs) < 2:
        return None
    return f"{len(layer.inputs)} parts"
