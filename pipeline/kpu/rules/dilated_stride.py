"""Dilated convolutions with a stride."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, times
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="dilation 1",
    replacement="a stack of plain 3×3 with the same field of view, the stride in one of them (`kpufit replace`)",
    source="nncase v1.9.0, eliminate_dilated_conv2d.cpp:155; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 runs a dilated convolution with a stride in float32 on the CPU."""
    layer = site.layer
    if layer.op != "Conv" or layer.dilations == (1, 1) or layer.strides == (1, 1) or not has_kpu_kernel(site):
        return None
    return f"dilation {times(*layer.dilations)}, stride {times(*layer.strides)}"
