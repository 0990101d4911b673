"""Grouped convolutions."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import is_depthwise
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="1 group, or as many as channels",
    replacement="a dense convolution with zeros, or depthwise and 1×1, whichever is smaller (`kpufit replace`)",
    source="nncase v1.9.0, fake_kpu_conv2d.cpp:60,96; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU knows dense and depthwise convolutions: nncase 1.9 runs any other grouping in float32 on the CPU."""
    layer = site.layer
    if layer.op != "Conv" or layer.groups == 1 or len(layer.in_shape) != 4:
        return None
    if is_depthwise(site, layer) or layer.groups == layer.in_shape[1]:
        return None
    return f"{layer.groups} groups of {layer.in_shape[1]} channels"
