"""Resizes."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="none",
    replacement=(
        "a nearest Resize as a transposed 3×3, or learned (`kpufit replace`); none where the network can do without"
    ),
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 enlarges and shrinks maps in float32 on the CPU."""
    layer = site.layer
    if layer.op not in ("Resize", "Upsample") or site.predicted.unit != "cpu":
        return None
    source, size = ("×".join(map(str, shape[2:])) for shape in (layer.in_shape, layer.out_shape))
    return f"{layer.attributes.get('mode', 'nearest')}, {source} → {size}"
