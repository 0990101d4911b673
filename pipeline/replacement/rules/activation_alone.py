"""An activation that nncase compiles only behind a convolution, and finds elsewhere → a 1×1 that copies, then it.

A depthwise 1×1 of ones gives what it reads, and the KPU's activation table comes with it. Where the KPU cannot run one
over the map, ``Clip(0, none)`` becomes ``Relu``, which compiles everywhere (on the CPU).
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from pipeline.kpu import limits
from pipeline.network.modules import Concat, Slice
from pipeline.replacement.activations import ACTIVATIONS, canonical
from pipeline.replacement.convolution import pair
from pipeline.replacement.maps import pointwise_map
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.rules.activation_before_pool import RULE as BEFORE_POOL

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_NO_CLIP = (*_POOLS, Concat, Slice, nn.Upsample, nn.ZeroPad2d, nn.ConstantPad2d)
"""Behind these nncase compiles no Clip."""


def _match(site: Site) -> Match | Miss:
    before = site.before()
    if before is None:
        return Miss("it reads several values")
    clip = isinstance(site.module(), nn.Hardtanh)
    if not (clip and _no_clip(site, before)) and not _is_fused(site.module(before)):
        return Miss("nncase 1.9 compiles it where it is")
    if isinstance(BEFORE_POOL.match(site), Match):
        return Miss("it goes before the pool")
    found = f"{type(site.module()).__name__} on {before.target}"
    room = pointwise_map(site, before)
    if isinstance(room, Miss) and canonical(_module(site)) != canonical(nn.ReLU()):
        return room
    if isinstance(room, Miss) and isinstance(site.module(), nn.ReLU):
        return room
    return Match((site.node,), found)


def _build(site: Site, match: Match) -> Built:
    before = site.before()
    assert before is not None
    room = pointwise_map(site, before)
    if isinstance(room, Miss):
        return Built(nn.Sequential(nn.ReLU()))
    copied = blank_pointwise(room[0], room[0], groups=room[0])
    with torch.no_grad():
        copied.weight.fill_(1.0)
    chain = nn.Sequential()
    chain.add_module("copy", copied)
    chain.add_module("act", copy.deepcopy(_module(site)))
    return Built(chain)


def _module(site: Site) -> nn.Module:
    module = site.module()
    assert module is not None
    return module


def _no_clip(site: Site, before: fx.Node) -> bool:
    return before.op == "placeholder" or isinstance(site.module(before), _NO_CLIP)


def _is_fused(before: nn.Module | None) -> bool:
    """Whether a layer is a pool that nncase fuses with a convolution."""
    if not isinstance(before, _POOLS) or pair(before.padding) != (0, 0):
        return False
    kernel, stride = pair(before.kernel_size), pair(before.stride)
    return kernel[0] == kernel[1] and stride[0] == stride[1] and (kernel[0], stride[0]) in limits.POOLS


RULE = Rule(
    name="activation-alone",
    kind="exact",
    concerns=ACTIVATIONS,
    matches="Clip on the image or behind a pool, concat, resize, pad or slice; any activation behind a pool "
    "that the KPU does",
    becomes="a depthwise 1×1 that copies its input, and the activation in the KPU's table",
    why="nncase 1.9 compiles a Clip only as part of a convolution or arithmetic, and no activation behind a fused pool",
    source="measured with nncase 1.9.0.20230322 (Emitter for Clamp, for FusedUnary is not found)",
    match=_match,
    build=_build,
)
