"""The maps between layers: how large they are, and whether the KPU can run one more 1×1 over them."""

from __future__ import annotations

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.kpu import limits
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.replacement.rule import Miss, Site
from pipeline.training.modes import evaluating


def value_shape(site: Site, node: fx.Node) -> tuple[int, ...] | None:
    """Return the shape of what ``node`` gives, without the batch; None without a contract."""
    if site.contract is None:
        return None
    if "tensor_meta" not in node.meta:  # it stays right: a replacement keeps every shape
        with evaluating(site.network), torch.no_grad():
            ShapeProp(site.network).propagate(torch.zeros(1, *site.contract.image))
    return tuple(int(side) for side in node.meta["tensor_meta"].shape[1:])


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
