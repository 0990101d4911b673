"""Pools with padding that the KPU does not do."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import pads
from pipeline.kpu.rules.pooling import is_window_pool, own_padding, window
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="no padding; 0, 0, 1, 1 with a 2×2 of stride 1",
    replacement="a pool without padding (`kpufit replace`)",
    source="nncase v1.9.0, runtime_op_utility.h (get_kpu_padding); measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU's pools pad one way only: with any other padding the pool runs in float32 on the CPU."""
    layer = site.layer
    if site.predicted.unit != "cpu" or not is_window_pool(layer):
        return None
    own = own_padding(window(layer))
    given = pads(site)
    return None if own is None or given == own else f"padding {', '.join(map(str, given))} (top, left, bottom, right)"
