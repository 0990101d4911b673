"""Stride-2 depthwise convolutions that no 1×1 follows."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, is_depthwise, kernel, only_reader, works_on_cpu
from pipeline.kpu.rules.folded import ELEMENTWISE
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="a 1×1 convolution directly behind",
    replacement="stride 1, and the stride moved into a 1×1 behind it (`kpufit replace`)",
    source="nncase v1.9.0, strided_slice_motion.cpp:32; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU gives a depthwise result at full resolution only: nncase 1.9 moves the stride into the 1×1 convolution
    that follows, or slices on the CPU where none does.
    """
    layer = site.layer
    if layer.strides != (2, 2) or not is_depthwise(site, layer) or not has_kpu_kernel(site):
        return None
    if not works_on_cpu(site, "slice", "copy", "quantize", "pad"):
        return None
    after = only_reader(site, layer, *ELEMENTWISE, "BatchNormalization")
    if after is not None and kernel(site, after) == (1, 1) and not is_depthwise(site, after):
        return None
    return f"followed by {after.op}" if after is not None else "followed by several layers or none"
