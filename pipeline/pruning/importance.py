"""How much the network would miss each channel of each group."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch_pruning
from numpy.typing import NDArray
from torch import nn

from pipeline.network.contract import InputContract
from pipeline.progress import track
from pipeline.pruning.groups import Group, dependency_graph, pruning_group
from pipeline.training.data.sets import DataSet

Method = Literal["group-taylor", "group-l2"]
Importance = Mapping[str, NDArray[np.float64]]

_BATCHES = 24
_BATCH = 64


def channel_importance(
    network: nn.Module,
    groups: Sequence[Group],
    train: DataSet,
    contract: InputContract,
    method: Method,
    seed: int,
) -> Importance:
    """Return, for each group's name, the importance of its channels (float64, at least 0, the same scale for all).

    ``group-taylor``: how far the loss depends on the channel's weights to first order, Σ |w·∂L/∂w|, the mean of 24
    batches of training images, summed over the layers of the group (after Molchanov et al., CVPR 2019). ``group-l2``:
    the squared norm of the channel's weights, relative to its group's mean (DepGraph, Fang et al., CVPR 2023).
    """
    scratch = copy.deepcopy(network)
    graph = dependency_graph(scratch, contract.image)
    everything = {
        group.name: pruning_group(graph, scratch, group.name, list(range(group.channels))) for group in groups
    }
    if method == "group-l2":
        score = torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
        return _scores(everything, score)
    score = torch_pruning.importance.GroupTaylorImportance(group_reduction="sum", normalizer=None)
    total = {group.name: np.zeros(group.channels) for group in groups}
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(train), generator=generator)[: _BATCHES * _BATCH].numpy()
    batches = [train.take(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)]
    for batch in track(batches, "weighing channels"):
        scratch.zero_grad()
        logits = scratch(torch.from_numpy(contract.normalise(batch.images)))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels))
        loss.backward()  # type: ignore[no-untyped-call]
        for name, values in _scores(everything, score).items():
            total[name] += values / len(batches)
    return total


def _scores(groups: Mapping[str, Any], score: Any) -> dict[str, NDArray[np.float64]]:
    return {name: score(group).double().numpy() for name, group in groups.items()}
