"""Groups of channels that must go together, found by Torch-Pruning's dependency graph.

A convolution's output channels, the BatchNorm behind it, the inputs of the next layer and everything that a residual
sum or a depthwise convolution ties to them form one group. The network's input and its logits belong to none.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import nn

Image = tuple[int, int, int]


@dataclass(frozen=True)
class Group:
    """Channels that can only be pruned together.

    Attributes:
        name: of the layer whose output channels it counts.
        layers: every layer that changes with it, in the network's order.
        channels: how many there are.
    """

    name: str
    layers: tuple[str, ...]
    channels: int


def find_groups(network: nn.Module, image: Image, *, least: int = 2) -> tuple[Group, ...]:
    """Return the groups of ``network`` that can be pruned, in the network's order.

    Each is tried on a copy by taking one channel away: a group that the network does not survive (channels bound by a
    constant, a reshape or a slice) or that changes the number of logits is left out.

    Args:
        network: images N×C×H×W to logits; not changed.
        image: channels, height, width.
        least: smaller groups are left out.
    """
    found = []
    scratch = copy.deepcopy(network)
    graph = dependency_graph(scratch, image)
    logits = _logits(scratch, image)
    for group in _candidates(scratch, graph):
        if group.channels < least:
            continue
        if _survives(scratch, graph, group, image, logits):
            found.append(group)
        else:  # the copy is broken now: go on with a fresh one
            scratch = copy.deepcopy(network)
            graph = dependency_graph(scratch, image)
    return tuple(found)


def dependency_graph(network: nn.Module, image: Image) -> Any:
    """Return Torch-Pruning's dependency graph of ``network``, which is left in evaluation mode."""
    network.eval()
    with torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(network, torch.zeros(1, *image), verbose=False)


def pruning_group(graph: Any, network: nn.Module, name: str, channels: list[int]) -> Any:
    """Return Torch-Pruning's group for ``channels`` of the output of layer ``name``."""
    layer = network.get_submodule(name)
    return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, channels)


def _candidates(network: nn.Module, graph: Any) -> list[Group]:
    """Every group that the graph knows, in the order of its first layer; its layers in the network's order."""
    names = {module: name for name, module in network.named_modules()}
    position = {name: place for place, name in enumerate(names.values())}
    groups = []
    for group in graph.get_all_groups():
        layers = {names[dep.target.module] for dep, _ in group if dep.target.module in names}
        root, rows = group[0]
        groups.append(Group(names[root.target.module], tuple(sorted(layers, key=position.__getitem__)), len(rows)))
    return sorted(groups, key=lambda group: position[group.layers[0]])


def _survives(network: nn.Module, graph: Any, group: Group, image: Image, logits: torch.Size) -> bool:
    """Whether ``network`` still gives logits of the same shape with one channel of ``group`` taken away, in place."""
    try:
        pruning_group(graph, network, group.name, [group.channels - 1]).prune()
        return _logits(network, image) == logits
    except (RuntimeError, ValueError, IndexError, AssertionError, KeyError):
        return False  # Torch-Pruning and torch raise any of these for shapes that no longer fit


def _logits(network: nn.Module, image: Image) -> torch.Size:
    with torch.no_grad():
        shape: torch.Size = network(torch.zeros(2, *image)).shape
    return shape
