"""Transposes."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="NCHW throughout",
    replacement=(
        "the network exported as NCHW; a channel shuffle folded into the 1×1 convolutions around it (`kpufit replace`)"
    ),
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """A Transpose that moves pixels (NHWC, a channel shuffle, a detector's tail) runs on the CPU."""
    layer = site.layer
    if layer.op != "Transpose" or site.predicted.unit != "cpu":
        return None
    return f"axes {', '.join(map(str, layer.attributes.get('perm', ())))}"
