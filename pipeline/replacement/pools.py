"""What the KPU's own pools are, and what must stand before one: a dense convolution that does it in passing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx, nn

from pipeline.replacement.activations import ACTIVATIONS
from pipeline.replacement.convolution import pair
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Miss, Site

MOST_CHANNELS = 256
"""Of an identity that is put in for a pool alone: it takes a byte for each pair of channels, 64 KiB at the most."""


@dataclass(frozen=True)
class MaxPool:
    """A max-pool and the padding layer of −∞ before it, if it has one.

    Attributes:
        nodes: of both.
        kernel: (height, width), as the others are.
        stride: of the window.
        begin: pads at the top and at the left.
        shape: C×H×W of what it reads.
        gives: H×W of what it gives.
    """

    nodes: tuple[fx.Node, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    begin: tuple[int, int]
    shape: tuple[int, int, int]
    gives: tuple[int, int]


def read_max_pool(site: Site) -> MaxPool | Miss:
    """Return what the site's ``nn.MaxPool2d`` does, or why it has no such description."""
    pool = site.module()
    assert isinstance(pool, nn.MaxPool2d)
    if pair(pool.dilation) != (1, 1):
        return Miss("dilated")
    nodes: tuple[fx.Node, ...] = (site.node,)
    begin = pair(pool.padding)
    before = site.before()
    assert before is not None
    pad = site.module(before)
    if type(pad) is nn.ConstantPad2d and pad.value == -math.inf and len(before.users) == 1 and begin == (0, 0):
        left, _, top, _ = pad.padding
        nodes, begin = (before, site.node), (int(top), int(left))
    shape = shape_of(site, nodes[0].all_input_nodes[0])
    gives = shape_of(site, site.node)
    if shape is None or gives is None:
        return Miss("the size of its map is not known")
    return MaxPool(nodes, pair(pool.kernel_size), pair(pool.stride), begin, shape, gives[1:])


def shape_of(site: Site, node: fx.Node) -> tuple[int, int, int] | None:
    """Return C×H×W of a node's value; None without a contract, or where it is no map."""
    shape = site.shape(node)
    return (shape[0], shape[1], shape[2]) if shape is not None and len(shape) == 3 else None


def feeding_conv(site: Site, node: fx.Node) -> fx.Node | None:
    """Return the convolution that the KPU would do together with a pool that reads ``node``, None if there is none."""
    for kinds in ((*ACTIVATIONS, nn.PReLU), (nn.BatchNorm2d,)):
        if len(node.users) != 1:
            return None
        if isinstance(site.module(node), kinds):
            node = node.all_input_nodes[0]
    conv = site.module(node)
    return node if len(node.users) == 1 and isinstance(conv, nn.Conv2d) and pools_along(conv) else None


def pools_along(conv: nn.Conv2d) -> bool:
    """Return whether the KPU can pool what ``conv`` gives: dense, stride 1, of the size of its input.

    Its kernel is 1×1 or 3×3, or a larger one that a stack of 3×3 will replace, the last of which has the pool then.
    """
    kernel = pair(conv.kernel_size)
    return (
        conv.groups == 1
        and kernel[0] == kernel[1]
        and kernel[0] % 2 == 1
        and not isinstance(conv.padding, str)
        and pair(conv.padding) == (kernel[0] // 2, kernel[0] // 2)
        and pair(conv.stride) == pair(conv.dilation) == (1, 1)
        and conv.padding_mode == "zeros"
    )


def identity(channels: int, stride: int | tuple[int, int] = 1) -> nn.Conv2d:
    """Return a dense 1×1 that gives its input."""
    conv = blank_pointwise(channels, channels)
    conv.stride = pair(stride)
    conv.bias = None
    with torch.no_grad():
        conv.weight.copy_(torch.eye(channels)[..., None, None])
    return conv


def pool_2x2_in_place() -> tuple[nn.Module, nn.Module]:
    """Return the KPU's 2×2 max-pool of stride 1: each pixel with those right of it and below, the map's size kept."""
    return nn.ConstantPad2d((0, 1, 0, 1), -math.inf), nn.MaxPool2d(2, 1)
