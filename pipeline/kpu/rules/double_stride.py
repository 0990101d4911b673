"""A 1×1 convolution of stride 2 directly behind another stride of 2."""

from __future__ import annotations

from pipeline.kpu.layers import Layer
from pipeline.kpu.rules.convolution import before, clamps, is_depthwise, kernel
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="at most one of a stride-2 depthwise (or a slice by 2) and the 1×1 behind it has a stride",
    replacement="the 1×1 with stride 1 and a pool or a 3×3 of stride 2 behind it",
    source="nncase v1.9.0, strided_slice_motion.cpp:32; measured with nncase 1.9.0.20230322: relative error 1.0",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 moves the first stride behind the 1×1 and takes it for the 1×1's own: one of the two strides is lost
    and padding takes its place.
    """
    layer = site.layer
    if layer.strides != (2, 2) or kernel(site) != (1, 1) or is_depthwise(site, layer):
        return None
    source = before(site, *clamps(site))
    if source is None or len(site.network.after(source)) > 1 or not _is_strided(site, source):
        return None
    return f"stride 2 behind {source.name}, which has one already"


def _is_strided(site: Site, layer: Layer) -> bool:
    if layer.op == "Slice":
        before_, after = layer.in_shape[2:], layer.out_shape[2:]
        return len(before_) == 2 and after == (-(-before_[0] // 2), -(-before_[1] // 2)) and min(before_) > 1
    return layer.strides == (2, 2) and is_depthwise(site, layer)
