"""Maps below 4×4."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.head import is_global_pool
from pipeline.kpu.rules.convolution import has_kpu_kernel, times
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="height and width ≥ 4",
    replacement="fewer strides and pools, so that no convolution sees a map below 4×4",
    source="nncase v1.9.0, kpu_utils.h:21, src/transforms/neutral/pad_conv.cpp; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 pads a smaller map to 4×4 in float on the CPU, and crops the result: three CPU operators and buffers
    in main memory.
    """
    layer = site.layer
    if not has_kpu_kernel(site) or len(layer.in_shape) != 4 or min(layer.in_shape[2:]) >= limits.MIN_SIDE:
        return None
    source = site.network.before(layer)
    if source is not None and is_global_pool(source):
        return None  # a product of a vector: another rule's
    return times(*layer.in_shape[2:])
