"""The maps between layers: how large they are, and whether the KPU can run one more 1×1 over them."""

from __future__ import annotations

from torch import fx

from pipeline.kpu import limits
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.replacement.rule import Miss, Site


def value_shape(site: Site, node: fx.Node) -> tuple[int, ...] | None:
    """Return `Site.shape`."""
    return site.shape(node)


def pointwise_map(site: Site, node: fx.Node) -> tuple[int, int, int] | Miss:
    """Return channels, height and width of what ``node`` gives, or why the KPU cannot run a 1×1 over it."""
    shape = value_shape(site, node)
    if shape is None:
        return Miss("the size of its map is not known here")
    if len(shape) != 3:
        return Miss("not a map of channels, height and width")
    channels, height, width = shape
    within = limits.MIN_SIDE <= height <= limits.MAX_HEIGHT and limits.MIN_SIDE <= width <= limits.MAX_WIDTH
    memory = 2 * map_bytes(channels, height, width)
    if not within or channels > limits.MAX_CHANNELS or memory > limits.KPU_MEMORY_BYTES:
        return Miss(f"the KPU cannot run a 1×1 over a map of {channels}×{height}×{width}")
    return channels, height, width
