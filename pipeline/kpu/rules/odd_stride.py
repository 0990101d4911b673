"""Strides of 2 on odd sizes."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, is_depthwise, pads, times
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="even height and width",
    replacement="an image size that halves evenly down to this layer",
    source="nncase v1.9.0, fake_kpu_conv2d.cpp:141-209; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU drops the last row and column of an odd map at stride 2, so nncase 1.9 pads it on the CPU first."""
    layer = site.layer
    if layer.strides != (2, 2) or not has_kpu_kernel(site) or site.predicted.unit != "kpu" or len(layer.in_shape) != 4:
        return None
    own = site.network.weights(layer)[2] // 2
    if pads(site) != (own,) * 4 or is_depthwise(site, layer) or min(layer.out_shape[2:]) < 4:
        return None
    return times(*layer.in_shape[2:]) if any(side % 2 for side in layer.in_shape[2:]) else None
