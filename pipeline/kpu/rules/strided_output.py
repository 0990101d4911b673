"""Strides of 2 that leave less than 4×4."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.rules.convolution import has_kpu_kernel, is_depthwise, times
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="height and width ≥ 4 behind a stride of 2",
    replacement="fewer strides and pools, so that no map is below 4×4",
    source="nncase v1.9.0, fake_kpu_conv2d.cpp:141-209; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU keeps every other pixel only where 4×4 of them remain: nncase 1.9 slices the full-resolution map on the
    CPU instead.
    """
    layer = site.layer
    if layer.strides != (2, 2) or not has_kpu_kernel(site) or is_depthwise(site, layer) or len(layer.out_shape) != 4:
        return None
    if min(layer.out_shape[2:]) >= limits.MIN_SIDE or min(layer.in_shape[2:]) < limits.MIN_SIDE:
        return None
    return f"{times(*layer.out_shape[2:])} left"
