"""Maps of more than 256 pixels of height."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.rules.convolution import has_kpu_kernel, pads
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="height ≤ 256, padding beyond the KPU's own included",
    replacement="a smaller image, or a layer before it that halves the map (space-to-depth in the stem)",
    source="nncase v1.9.0, kpu_utils.h:21; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU takes no larger map: nncase 1.9 runs the convolution in float32 on the CPU."""
    layer = site.layer
    if site.predicted.unit != "cpu" or not has_kpu_kernel(site) or len(layer.in_shape) != 4:
        return None
    own = site.network.weights(layer)[2] // 2
    padding = pads(site)
    side = layer.in_shape[2] + max(0, padding[0] - own) + max(0, padding[2] - own)
    return f"{side} pixels high" if side > limits.MAX_HEIGHT else None
