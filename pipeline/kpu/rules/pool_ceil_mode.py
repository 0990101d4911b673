"""Pools that round their size up."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import pads
from pipeline.kpu.rules.pooling import is_window_pool, window
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="ceil_mode 0, or a size that comes out even",
    replacement="ceil_mode 0, with a map size or padding that comes out even",
    source="measured with nncase 1.9.0.20230322 (shape mismatch)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 rounds the size of a pool down whatever the network says, and then refuses the network because the
    shapes differ.
    """
    layer = site.layer
    if not layer.attributes.get("ceil_mode") or not is_window_pool(layer) or len(layer.in_shape) != 4:
        return None
    padding, (shape, strides) = pads(site), window(layer)
    rooms = [
        layer.in_shape[2 + i] + padding[i] + padding[2 + i] - layer.dilations[i] * (shape[i] - 1) - 1 for i in (0, 1)
    ]
    return "a size rounded up" if any(room % step for room, step in zip(rooms, strides, strict=True)) else None
