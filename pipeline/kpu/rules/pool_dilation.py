"""Dilated pools."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import times
from pipeline.kpu.rules.pooling import is_window_pool
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="dilation 1",
    replacement="a pool without dilation",
    source="measured with nncase 1.9.0.20230322 (shape mismatch)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 leaves the dilation out of a pool's size and then refuses the network because the shapes differ."""
    layer = site.layer
    if not is_window_pool(layer) or layer.dilations == (1, 1):
        return None
    return f"dilation {times(*layer.dilations)}"
