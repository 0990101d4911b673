"""Strides that the KPU has not, 3 or unequal ones: the stride next to it, where what follows can run on another map.

The map becomes larger or smaller, and everything behind it is computed at another resolution: possible as long as only
convolutions, pools and the like follow up to a global pool. The weights stay as they are; distillation then fits what
follows to the other distance between pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.kpu import limits
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.reach import STRIDES
from pipeline.replacement.rewrite import share
from pipeline.replacement.rule import Built, Match, Miss, Site
from pipeline.training.modes import evaluating

Next = Callable[[tuple[int, int]], int]
"""Returns the stride, the same on both axes, that takes the place of one that is not."""


def finer(stride: tuple[int, int]) -> int:
    """Return the largest stride of the KPU's that steps over no pixel that is wanted: 2 for 3, 1 for (2, 1)."""
    return max(each for each in STRIDES if each <= min(stride))


def coarser(stride: tuple[int, int]) -> int:
    """Return the least stride of the KPU's that is as large on both axes: 4 for 3, 2 for (2, 1)."""
    return min((each for each in STRIDES if each >= max(stride)), default=max(STRIDES))


def match_stride(site: Site, next_: Next) -> Match | Miss:
    """Match a convolution whose stride the KPU has not, if the network runs with the next one."""
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    stride = pair(conv.stride)
    if stride[0] == stride[1] and stride[0] in STRIDES:
        return Miss("a stride of the KPU")
    if site.contract is None:
        return Miss("the size of its map is not known here")
    trial = share(site.network)
    trial.add_submodule(str(site.node.target), with_stride(conv, next_(stride)))
    image = torch.zeros(1, *site.contract.image)
    try:
        after, before = _shapes(trial, image), _shapes(site.network, image)
    except RuntimeError:
        return Miss(f"what follows needs its map as large as it is, and stride {next_(stride)} gives another")
    outputs = [name for name, (node, _) in before.items() if node.op == "output"]
    if any(before[name][1] != after[name][1] for name in outputs):
        return Miss(f"the network's output would have another size with stride {next_(stride)}")
    for name, (node, shape) in after.items():
        if not isinstance(site.module(node), nn.Conv2d) or shape == before[name][1]:
            continue
        channels, height, width = shape[1:]
        if min(height, width) < limits.MIN_SIDE <= min(before[name][1][2:]):
            return Miss(f"{node.target} would give {height}×{width} with stride {next_(stride)}, too small for the KPU")
        read = after[node.all_input_nodes[0].name][1]
        if map_bytes(channels, height, width) + map_bytes(*read[1:]) > limits.KPU_MEMORY_BYTES:
            return Miss(f"the KPU cannot hold {channels}×{height}×{width} of {node.target} with stride {next_(stride)}")
    return Match((site.node,), describe(conv))


def build_stride(site: Site, match: Match, next_: Next) -> Built:
    """Return the convolution with the next stride."""
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    return Built(nn.Sequential(with_stride(conv, next_(pair(conv.stride)))))


def keep_weights(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    """Leave the chain with the weights of what it replaces."""
    conv = site.module()
    assert conv is not None
    chain[0].load_state_dict(conv.state_dict())


def with_stride(conv: nn.Conv2d, stride: int) -> nn.Conv2d:
    """Return a copy of a convolution with another stride."""
    made = copy.deepcopy(conv)
    made.stride = (stride, stride)
    return made


def _shapes(network: fx.GraphModule, image: Tensor) -> dict[str, tuple[fx.Node, tuple[int, ...]]]:
    """Return each node's shape, batch first, by its name; nodes that give no single tensor are left out."""
    copied = share(network)
    with evaluating(copied), torch.no_grad():
        ShapeProp(copied).propagate(image)
    return {
        node.name: (node, tuple(node.meta["tensor_meta"].shape))
        for node in copied.graph.nodes
        if hasattr(node.meta.get("tensor_meta"), "shape")
    }
