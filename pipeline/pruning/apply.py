"""Channels taken out of a copy of a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import nn

from pipeline.pruning.groups import Image, dependency_graph, pruning_group


def remove_channels(network: nn.Module, image: Image, removals: Mapping[str, Sequence[int]]) -> nn.Module:
    """Return a copy of ``network`` without the given channels.

    Args:
        network: images N×C×H×W to logits; not changed.
        image: channels, height, width.
        removals: for each group's name (`groups.Group`) the channels to remove.
    """
    pruned = copy.deepcopy(network)
    if not any(removals.values()):
        return pruned
    was = {module: module.training for module in pruned.modules()}
    graph = dependency_graph(pruned, image)
    for name, channels in removals.items():
        if channels:
            pruning_group(graph, pruned, name, sorted(channels)).prune()
    for parameter in pruned.parameters():
        parameter.grad = None
    for module, flag in was.items():
        module.training = flag
    return pruned
