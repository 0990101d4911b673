"""Clip that follows no convolution."""

from __future__ import annotations

from pipeline.kpu.rules.refusals import refused_as
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="directly behind a convolution, a product or arithmetic",
    replacement="the Clip moved behind the convolution before it, or a Relu (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322 (Emitter for Clamp is not found)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 knows a Clip only as part of the convolution (or arithmetic) before it: behind a concat, resize, pool,
    pad, slice or the image, the network does not compile. A plain Relu there does.
    """
    if refused_as(site, "clamp") is None:
        return None
    source = site.network.before(site.layer)
    return f"{site.layer.op} behind {source.op}" if source is not None else f"{site.layer.op} on the image"
