"""BatchNormalization that nothing folds."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="folded into a convolution (raw: none at all)",
    replacement=(
        "folded into the convolution before it, or made a 1×1 or a depthwise convolution (`kpufit compile` "
        "and `kpufit replace` do it)"
    ),
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 does not fold BatchNormalization: four float32 operators on the CPU for each. kpufit folds it where it
    directly follows a convolution that nothing else reads.
    """
    if site.layer.op != "BatchNormalization" or site.predicted.unit != "cpu":
        return None
    source = site.network.before(site.layer)
    return f"behind {source.op}" if source is not None else "on the image"
