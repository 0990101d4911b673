"""Activations behind a fused pool."""

from __future__ import annotations

from pipeline.kpu.rules.refusals import refused_as
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="the activation before the pool",
    replacement="the activation moved before the pool, exact for a growing one and a max-pool (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322 (Emitter for FusedUnary is not found)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 fuses a pool with the convolution and then finds nothing to run the activation with: the network does
    not compile.
    """
    if refused_as(site, "fused_unary") is None:
        return None
    source = site.network.before(site.layer)
    return f"{site.layer.op} behind {source.op}" if source is not None else site.layer.op
