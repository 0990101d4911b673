"""Clip directly behind a transposed convolution."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import clamps
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="a Relu or LeakyRelu, or nothing, behind a transposed convolution",
    replacement="a plain Relu, or a 1×1 convolution between the two",
    source="measured with nncase 1.9.0.20230322: relative error 1.0",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 makes the Clip part of the transposed convolution, and forgets it when it rewrites that one: nothing
    is clipped.
    """
    layer = site.layer
    if layer.op in ("BatchNormalization", "Relu") or layer.op not in clamps(site) or site.predicted.unit != "kpu":
        return None
    source = site.network.before(layer)
    if source is not None and source.op == "BatchNormalization" and not site.raw:
        source = site.network.before(source)
    return f"{layer.op} behind {source.name}" if source is not None and source.op == "ConvTranspose" else None
