"""Squeeze-and-excitation: a map times a factor a channel, made from the channels' means over the map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.network.modules import Mean, Reshape, Squeeze, Unsqueeze
from pipeline.replacement.activations import ACTIVATIONS
from pipeline.replacement.rule import Miss, Site
from pipeline.training.modes import evaluating

_GATE = (
    nn.AdaptiveAvgPool2d,
    Mean,
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm2d,
    nn.BatchNorm1d,
    nn.Flatten,
    Reshape,
    Squeeze,
    Unsqueeze,
    *ACTIVATIONS,
)
_BATCH = 32


@dataclass(frozen=True)
class Gate:
    """The layers that make the factors, and what they are made from.

    Attributes:
        origin: the map.
        nodes: from the global pool to the factors, in order.
        channels: of the map.
    """

    origin: fx.Node
    nodes: tuple[fx.Node, ...]
    channels: int


def read_gate(site: Site) -> Gate | Miss:
    """Return the gate of the site's product, or why it has none."""
    operands = site.node.args
    if len(operands) != 2 or not all(isinstance(operand, fx.Node) for operand in operands):
        return Miss("one operand is a number")
    for origin, factors in (operands, operands[::-1]):
        assert isinstance(origin, fx.Node)
        assert isinstance(factors, fx.Node)
        nodes = _back(site, factors, origin)
        if nodes:
            channels = _channels(site, nodes)
            return Miss("the gate has no weights") if channels is None else Gate(origin, nodes, channels)
    return Miss("no operand is made of the other's mean over the whole map")


def mean_factors(site: Site, gate: Gate, inputs: Tensor) -> Tensor:
    """Return each channel's factor (C) that comes nearest to the gate's: its mean, weighted by the channel's energy.

    Args:
        site: of the product.
        gate: of it.
        inputs: the map, N×C×H×W.
    """
    above = torch.zeros(gate.channels, dtype=torch.float64)
    below = torch.zeros(gate.channels, dtype=torch.float64)
    with evaluating(site.network), torch.no_grad():
        for start in range(0, len(inputs), _BATCH):
            part = inputs[start : start + _BATCH]
            value = part
            for node in gate.nodes:
                value = site.network.get_submodule(str(node.target))(value)
            energy = part.double().square().sum((2, 3))
            above += (value.double().flatten(1) * energy).sum(0)
            below += energy.sum(0)
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(torch.float64).tiny), 0.5)


def _back(site: Site, node: fx.Node, origin: fx.Node) -> tuple[fx.Node, ...]:
    """The gate's layers from ``origin``'s global pool to ``node``; empty if it is no gate."""
    found: list[fx.Node] = []
    while node is not origin:
        before = site.before(node)
        if before is None or len(node.users) != 1 or not isinstance(site.module(node), _GATE):
            return ()
        found.insert(0, node)
        node = before
    return tuple(found) if found and _is_global(site.module(found[0])) else ()


def _is_global(module: nn.Module | None) -> bool:
    if isinstance(module, Mean):
        return module.dims == (2, 3)
    return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def _channels(site: Site, nodes: tuple[fx.Node, ...]) -> int | None:
    """The channels that the gate reads."""
    for node in nodes:
        module = site.module(node)
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(module, nn.Linear):
            return module.in_features
    return None
