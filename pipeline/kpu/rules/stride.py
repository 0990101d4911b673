"""Strides other than 1 and 2."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, times
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="1, or 2 in both directions",
    replacement="strides of 2, or learned (`kpufit replace`)",
    source="nncase v1.9.0, fake_kpu_conv2d.cpp:141-209; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU computes every pixel, and the CPU picks those wanted out of the whole map in main memory: slow, and
    full-size buffers.
    """
    layer = site.layer
    if site.predicted.unit != "kpu" or not has_kpu_kernel(site):
        return None
    return None if layer.strides in ((1, 1), (2, 2)) else f"stride {times(*layer.strides)}"
