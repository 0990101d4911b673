"""Pools with a window that the KPU lacks."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import times
from pipeline.kpu.rules.pooling import is_window_pool, own_padding, window
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="2×2 with stride 2 or 1, or 4×4 with stride 4",
    replacement="a 2×2 pool, or a convolution of stride 2 (`kpufit replace`)",
    source="nncase v1.9.0, kpu_utils.h:57; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """Every other pool runs in float32 on the CPU, between two copies of its maps in main memory."""
    layer = site.layer
    if site.predicted.unit != "cpu" or not is_window_pool(layer) or own_padding(window(layer)) is not None:
        return None
    shape, strides = window(layer)
    return f"{times(*shape)}, stride {times(*strides)}"
