"""A channel shuffle (Reshape, Transpose, Reshape) → the same order in a convolution's weights, exactly.

The shuffle only renumbers channels: the rows of the kernel before it (its BatchNorm with them; an activation does not
care), else the columns of a dense kernel after it, are put in that order. Where neither is there, a 1×1 with a single
1 in each row does it. A grouped kernel becomes dense: its rows leave their groups.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.network.modules import Reshape, Transpose
from pipeline.replacement.activations import ACTIVATIONS
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.rules.grouped_dense import as_dense


@dataclass(frozen=True)
class _Shuffle:
    """Output channel c holds input channel ``order[c]``; ``into`` is the convolution that takes it, None a new one."""

    order: Tensor
    nodes: tuple[fx.Node, ...]
    into: fx.Node | None


def _match(site: Site) -> Match | Miss:
    found = _find(site)
    if isinstance(found, Miss):
        return found
    into = "a 1×1 of its own" if found.into is None else str(found.into.target)
    return Match(found.nodes, f"a shuffle of {len(found.order)} channels, in {into}")


def _build(site: Site, match: Match) -> Built:
    found = _find(site)
    assert not isinstance(found, Miss)
    order = found.order
    if found.into is None:
        conv = blank_pointwise(len(order), len(order))
        with torch.no_grad():
            conv.weight[torch.arange(len(order)), order] = 1.0
        return Built(nn.Sequential(conv))
    old = site.module(found.into)
    assert isinstance(old, nn.Conv2d)
    dense = as_dense(old)
    chain = nn.Sequential()
    if found.into is found.nodes[-1]:  # y[c] = x[order[c]]: column c of the kernel reads x's channel order[c]
        with torch.no_grad():
            dense.weight[:, order] = dense.weight.clone()
        return Built(nn.Sequential(dense))
    with torch.no_grad():
        dense.weight.copy_(dense.weight[order])
        if dense.bias is not None:
            dense.bias.copy_(dense.bias[order])
    chain.add_module("shuffled", dense)
    for node in found.nodes[1:-3]:
        layer = copy.deepcopy(site.module(node))
        assert layer is not None
        if isinstance(layer, nn.BatchNorm2d):
            for value in layer.state_dict().values():
                if value.ndim:
                    value.copy_(value[order])
        chain.add_module(node.name, layer)
    return Built(chain)


def _find(site: Site) -> _Shuffle | Miss:
    split, joined = site.before(), site.after()
    if split is None or joined is None or len(split.users) != 1:
        return Miss("not between two reshapes that nothing else reads")
    order = _order(site, split, joined)
    if isinstance(order, Miss):
        return order
    shuffle = (split, site.node, joined)
    before = _before(site, split)
    if before:
        return _Shuffle(order, (*before, *shuffle), before[0])
    reader = site.after(joined)
    conv = site.module(reader) if reader is not None else None
    if reader is not None and isinstance(conv, nn.Conv2d) and conv.groups == 1:
        return _Shuffle(order, (*shuffle, reader), reader)
    if len(order) > MAX_CHANNELS:
        return Miss(f"{len(order):,} channels, more than a 1×1 of the KPU can move ({MAX_CHANNELS:,})")
    return _Shuffle(order, shuffle, None)


def _order(site: Site, split: fx.Node, joined: fx.Node) -> Tensor | Miss:
    """The channels' order, if the three layers change nothing else."""
    first, transpose, last = site.module(split), site.module(), site.module(joined)
    assert isinstance(transpose, Transpose)
    if not isinstance(first, Reshape) or not isinstance(last, Reshape):
        return Miss("not between two reshapes")
    if len(first.shape) < 4 or len(last.shape) != 3 or first.shape[-2:] != last.shape[-2:]:
        return Miss("the reshapes around it do not split and join channels alone")
    parts, axes = first.shape[:-2], len(first.shape)
    moved = transpose.order
    if moved[0] != 0 or moved[-2:] != (axes - 1, axes) or torch.Size(parts).numel() != last.shape[0]:
        return Miss("it moves more than channels")
    return torch.arange(last.shape[0]).view(parts).permute([axis - 1 for axis in moved[1:-2]]).flatten()


def _before(site: Site, split: fx.Node) -> tuple[fx.Node, ...]:
    """The convolution, BatchNorm and activation before the shuffle, read by nothing else; empty without one."""
    found: list[fx.Node] = []
    node = site.before(split)
    for kinds in (ACTIVATIONS, (nn.BatchNorm2d,)):
        if node is not None and isinstance(site.module(node), kinds) and len(node.users) == 1:
            found.insert(0, node)
            node = site.before(node)
    conv = site.module(node) if node is not None else None
    if node is None or len(node.users) != 1 or not isinstance(conv, nn.Conv2d):
        return ()
    depthwise = conv.groups == conv.in_channels and conv.groups > 1
    return () if depthwise else (node, *found)  # dense, it would cost a channel's worth of weights more a channel


RULE = Rule(
    name="shuffle-fold",
    kind="exact",
    concerns=(Transpose,),
    matches="a channel shuffle: Reshape, Transpose, Reshape that move channels alone",
    becomes="the convolution before it, else after it, with its weights in that order; else a 1×1",
    why="nncase 1.9 runs a Transpose on the CPU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
