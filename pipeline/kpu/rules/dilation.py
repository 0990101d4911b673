"""Dilated convolutions that run on the KPU by way of smaller images."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, times
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="dilation 1",
    replacement="a stack of plain 3×3 with the same field of view (`kpufit replace`)",
    source="nncase v1.9.0, eliminate_dilated_conv2d.cpp:155; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 cuts the map into d² smaller ones for the KPU: Pad and two Transposes on the CPU, in main memory,
    around one convolution.
    """
    layer = site.layer
    if layer.dilations == (1, 1) or not has_kpu_kernel(site) or site.predicted.unit != "kpu":
        return None
    return f"dilation {times(*layer.dilations)}"
