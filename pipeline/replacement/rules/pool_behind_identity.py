"""A pool of the KPU that no dense convolution feeds → a 1×1 identity, then the same pool, exact.

The KPU pools what a convolution just gave. Behind a concat, a depthwise or strided convolution, or a map that others
read as well, nncase 1.9 leaves the pool to the CPU; an identity that only the pool reads brings it back.
"""

from __future__ import annotations

import copy
import math

from torch import fx, nn

from pipeline.replacement.convolution import pair
from pipeline.replacement.pools import MOST_CHANNELS, feeding_conv, identity, shape_of
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_WINDOWS = ((2, 2), (4, 4))
"""Kernel and stride that both kinds of pool have on the KPU without padding."""


def _match(site: Site) -> Match | Miss:
    pool = site.module()
    assert isinstance(pool, (nn.MaxPool2d, nn.AvgPool2d))
    sizes = {*pair(pool.kernel_size)}, {*pair(pool.stride)}
    window = (max(sizes[0]), max(sizes[1]))
    before = site.before()
    assert before is not None
    if any(len(each) > 1 for each in sizes) or pair(pool.padding) != (0, 0):
        return Miss("not a window that the KPU pools")
    pad = site.module(before)
    nodes: tuple[fx.Node, ...] = (site.node,)
    if type(pad) is nn.ConstantPad2d and tuple(pad.padding) == (0, 1, 0, 1) and pad.value == -math.inf:
        if window != (2, 1) or len(before.users) != 1 or isinstance(pool, nn.AvgPool2d):
            return Miss("not a window that the KPU pools")
        nodes = (before, site.node)
    elif window not in _WINDOWS:
        return Miss("not a window that the KPU pools")
    if isinstance(pool, nn.MaxPool2d) and pair(pool.dilation) != (1, 1):
        return Miss("dilated")
    source = nodes[0].all_input_nodes[0]
    if feeding_conv(site, source) is not None:
        return Miss(f"the KPU pools what {source.target} gives")
    shape, gives = shape_of(site, source), shape_of(site, site.node)
    if shape is None or gives is None:
        return Miss("the size of its map is not known")
    if window in _WINDOWS and gives[1:] != (shape[1] // window[1], shape[2] // window[1]):
        return Miss("rounds its size up")
    if shape[0] > MOST_CHANNELS:
        return Miss(f"{shape[0]:,} channels: the identity would take {shape[0] ** 2:,} bytes")
    if gives[1:] == (1, 1):
        return Miss("pools the whole map, a classifier's head")
    return Match(nodes, f"{window[0]}×{window[0]}, stride {window[1]}, behind {source.target}, {shape[0]} channels")


def _build(site: Site, match: Match) -> Built:
    shape = shape_of(site, match.nodes[0].all_input_nodes[0])
    assert shape is not None
    layers = [copy.deepcopy(site.module(node)) for node in match.nodes]
    chain = nn.Sequential()
    chain.add_module("identity", identity(shape[0]))
    for index, layer in enumerate(layers):
        assert layer is not None
        chain.add_module(f"pool{index + 1}", layer)
    return Built(chain)


RULE = Rule(
    name="pool-behind-identity",
    kind="exact",
    concerns=(nn.MaxPool2d, nn.AvgPool2d),
    matches=f"pools 2×2 and 4×4 that no dense convolution of stride 1 alone feeds; up to {MOST_CHANNELS} channels",
    becomes="a 1×1 identity and the same pool",
    why="the KPU pools only what a dense convolution just gave it: the pool would run in float32 on the CPU",
    source="kpu_utils.h:57, fuse_kpu_conv2d_pool.cpp of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
