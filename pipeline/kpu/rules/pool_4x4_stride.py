"""4×4 pools with another stride than 4."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import times
from pipeline.kpu.rules.pooling import feeding_conv, is_window_pool, window
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="stride 4",
    replacement="a 4×4 pool with stride 4, or two 2×2 pools (`kpufit replace`)",
    source="nncase v1.9.0, kpu_utils.h:57; measured with nncase 1.9.0.20230322 (shape mismatch)",
)
def RULE(site: Site) -> str | None:
    """Behind a convolution, nncase 1.9 takes a 4×4 pool for the KPU's whatever its stride, and then refuses the network
    because the shapes differ.
    """
    layer = site.layer
    if not is_window_pool(layer) or window(layer)[0] != (4, 4) or any(layer.pads):
        return None
    down, right = layer.strides
    conv = feeding_conv(site)
    source = site.network.before(layer)
    if down == 4 or down != right or conv is None or conv.strides != (1, 1) or source is None:
        return None
    return f"4×4, stride {times(down, right)}" if len(site.network.after(source)) == 1 else None
