"""conv → max-pool → activation becomes conv → activation → max-pool.

``f(max(a, b)) = max(f(a), f(b))`` for every f that never falls: each value that the pool gives is one of those that it
reads, and f keeps their order. Padding counts as −∞ and is never chosen. Not so for a mean. A Relu behind a pool of
what a Relu gave is left out.
"""

from __future__ import annotations

import copy

from torch import fx, nn

from pipeline.network.modules import HardSigmoid
from pipeline.replacement.activations import ACTIVATIONS, range_of, unchanged
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_GROWING = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Sigmoid, nn.Hardsigmoid, nn.Tanh)


def _match(site: Site) -> Match | Miss:
    pool = site.before()
    if pool is None or not isinstance(site.module(pool), nn.MaxPool2d):
        return Miss("not behind a max-pool")
    if len(pool.users) != 1:
        return Miss("other layers read the pool too")
    if not _grows(site.module()):
        return Miss("it falls somewhere: its largest value is not that of the largest input")
    if not _behind_conv(site, pool):
        return Miss("no convolution that the pool alone reads comes before it")
    return Match((pool, site.node), f"{type(site.module()).__name__} behind {pool.target}")


def _build(site: Site, match: Match) -> Built:
    pool = copy.deepcopy(site.module(match.nodes[0]))
    assert pool is not None
    chain = nn.Sequential()
    if not unchanged(site.module(), range_of(site, match.nodes[0])):
        chain.add_module("act", copy.deepcopy(site.module()))
    chain.add_module("pool", pool)
    return Built(chain)


def _grows(activation: nn.Module | None) -> bool:
    if isinstance(activation, nn.LeakyReLU):
        return activation.negative_slope >= 0
    if isinstance(activation, (nn.ELU, HardSigmoid)):
        return activation.alpha >= 0
    return isinstance(activation, _GROWING)


def _behind_conv(site: Site, pool: fx.Node) -> bool:
    """Whether the pool reads a convolution, over a BatchNorm and activations that the KPU does with it."""
    node = site.before(pool)
    while node is not None and len(node.users) == 1 and isinstance(site.module(node), (nn.BatchNorm2d, *ACTIVATIONS)):
        node = site.before(node)
    return node is not None and len(node.users) == 1 and isinstance(site.module(node), nn.Conv2d)


RULE = Rule(
    name="activation-before-pool",
    kind="exact",
    concerns=ACTIVATIONS,
    matches="a growing activation (Relu, Clip, LeakyRelu, Sigmoid, Tanh, …) behind a max-pool behind a convolution",
    becomes="the activation before the pool; nothing where it changes no value that the pool can give",
    why="nncase 1.9 fuses the pool with the convolution and does not compile the activation behind it; where it does "
    "not fuse the pool, the activation is a float32 operator on the CPU, or a Clip that does not compile",
    source="measured with nncase 1.9.0.20230322 (Emitter for FusedUnary, for Clamp is not found)",
    match=_match,
    build=_build,
)
