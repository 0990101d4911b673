"""Average pools that count their padding."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import pads
from pipeline.kpu.rules.pooling import is_window_pool
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="count_include_pad 0, or no padding",
    replacement="an average pool without padding, or a Pad before it",
    source="measured with nncase 1.9.0.20230322: relative error 0.15 to 0.36",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 divides by the pixels within the image and leaves count_include_pad out: every mean at the border is
    too large. (PyTorch counts the padding unless told otherwise.)
    """
    layer = site.layer
    if layer.op != "AveragePool" or not layer.attributes.get("count_include_pad") or not is_window_pool(layer):
        return None
    padding = pads(site)
    return f"padding {', '.join(map(str, padding))}, counted" if any(padding) else None
