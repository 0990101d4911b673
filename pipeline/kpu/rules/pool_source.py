"""Pools that no convolution of the KPU feeds."""

from __future__ import annotations

from pipeline.kpu.rules.pooling import feeding_conv, is_window_pool, own_padding, window
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="a dense 1×1 or 3×3 convolution of stride 1 directly before, which nothing else reads",
    replacement="a pool directly behind a convolution, or a stride of 2 in its place (`kpufit replace`)",
    source="nncase v1.9.0, kpu_utils.h:57, fuse_kpu_conv2d_pool.cpp; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU pools only what a convolution just gave it: a pool behind a depthwise or strided convolution, another
    pool, or a map that others read as well, runs in float32 on the CPU.
    """
    layer = site.layer
    if site.predicted.unit != "cpu" or not is_window_pool(layer) or own_padding(window(layer)) is None:
        return None
    source = site.network.before(layer)
    if source is None:
        return "the image"
    if len(site.network.after(source)) > 1 or source.outputs[0] in site.network.outputs:
        return f"{source.name} is read by others too"
    conv = feeding_conv(site)
    if conv is None:
        return f"behind {source.name} ({source.op})"
    if conv.strides != (1, 1):
        return f"behind {conv.name}, which has a stride"
    return f"behind {conv.name}"
