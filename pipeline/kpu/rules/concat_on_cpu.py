"""Concats that copy."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="none",
    replacement="the convolutions that give its parts made to write one wider map, where exact (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU cannot join maps: where a part is used elsewhere too, or is a part itself, the CPU also copies it in
    float.
    """
    layer = site.layer
    if layer.op != "Concat" or site.predicted.unit != "cpu":
        return None
    return f"{len(layer.inputs)} parts"
