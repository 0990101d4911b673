"""Structured pruning of a network to a budget of kmodel bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from pipeline.errors import RecipeError
from pipeline.network.contract import InputContract
from pipeline.network.trace import trace
from pipeline.pruning.apply import remove_channels
from pipeline.pruning.groups import Group, find_groups
from pipeline.pruning.importance import Importance, Method, channel_importance
from pipeline.pruning.limit import Narrowed, within_channels
from pipeline.pruning.solve import Predict, Solution, removed_fraction, solve
from pipeline.training.data.sets import DataSet

MINIMUM_CHANNELS = 4  # below, a layer's fixed tables outweigh its channels, and little gets through it
_LIMITED_ON = 256
"""Training images on which layers wider than the KPU counts are narrowed."""


@dataclass(frozen=True)
class PruneSettings:
    """How to prune.

    Attributes:
        budget: bytes that ``predict`` must not exceed.
        importance: how channels are weighed.
        minimum: channels that each group keeps.
        keep: channels that each group keeps, by its name, whatever the budget; a group not named keeps all.
    """

    budget: int
    importance: Method = "group-taylor"
    minimum: int = MINIMUM_CHANNELS
    keep: Mapping[str, int] | None = None


@dataclass(frozen=True)
class GroupChange:
    """What pruning did to one group.

    Attributes:
        name: of the layer whose output channels it counts.
        layers: every layer that changed with it.
        before: channels.
        after: channels.
        importance_kept: the share of the group's importance that is in the channels kept.
    """

    name: str
    layers: tuple[str, ...]
    before: int
    after: int
    importance_kept: float


@dataclass(frozen=True)
class PruneResult:
    """A pruned network and how it came to be.

    Attributes:
        network: a copy, not yet trained again.
        changes: one a group, in the network's order.
        bytes_before: predicted for the whole network.
        bytes_after: predicted for the pruned one.
        reached: whether ``bytes_after`` meets the budget; if not, every group is at its minimum.
        ratio: the share of all prunable channels that went.
    """

    network: nn.Module
    changes: tuple[GroupChange, ...]
    bytes_before: int
    bytes_after: int
    reached: bool
    ratio: float


def prune_network(
    network: nn.Module,
    train: DataSet,
    contract: InputContract,
    settings: PruneSettings,
    predict: Predict,
    *,
    seed: int,
) -> PruneResult:
    """Return ``network`` with as few channels removed, cheapest first, as bring it within the budget.

    Groups of more channels than the KPU counts are narrowed before anything else, whatever the budget (`limit`).

    Args:
        network: a ``GraphModule`` or module of ordinary layers, images to logits; not changed.
        train: training images, from which importance is measured.
        contract: the network's input.
        settings: budget, importance, smallest group.
        predict: kmodel bytes of a network, as it will be after all replacements.
        seed: of the choice of training images.

    Raises:
        RecipeError: ``settings.keep`` names a group that there is not, or more channels than it has.
    """
    before = predict(network)
    limited = narrowed(trace(network), train, contract, seed=seed)
    widths = {group.name: group.channels for group in limited.groups}
    network, now = limited.network, predict(limited.network) if widths else before
    groups = find_groups(network, contract.image)
    importance: Importance
    if settings.keep is not None:
        importance = channel_importance(network, groups, train, contract, settings.importance, seed)
        solution = _as_told(network, contract, groups, importance, predict, settings.keep, settings.budget)
    elif now <= settings.budget:
        solution = Solution({group.name: () for group in groups}, now, reached=True)
        importance = {group.name: np.ones(group.channels) for group in groups}
    else:
        importance = channel_importance(network, groups, train, contract, settings.importance, seed)
        solution = solve(network, contract.image, groups, importance, predict, settings.budget, settings.minimum)
    changes = tuple(_change(group, importance, solution, widths.get(group.name, group.channels)) for group in groups)
    widths_before = [change.before for change in changes]
    return PruneResult(
        network=remove_channels(network, contract.image, solution.removals),
        changes=changes,
        bytes_before=before,
        bytes_after=solution.predicted,
        reached=solution.reached,
        ratio=sum(change.before - change.after for change in changes) / max(1, sum(widths_before)),
    )


def narrowed(network: fx.GraphModule, train: DataSet, contract: InputContract, *, seed: int) -> Narrowed:
    """Return ``network`` as it is before channels are chosen: no group wider than the KPU counts."""
    rows = np.random.default_rng(seed).permutation(len(train))[:_LIMITED_ON]
    return within_channels(network, contract, train.images[rows])


def ratio_that_fits(network: nn.Module, contract: InputContract, predict: Predict, budget: int) -> float | None:
    """Return the share of channels to remove so that ``network`` meets ``budget`` bytes, weighed without data.

    For advice in a rejection: 0.0 if it fits as it is, None if no pruning is enough.
    """
    groups = find_groups(network, contract.image)
    nothing = np.empty((0, *contract.image), np.uint8), np.empty(0, np.int64)
    importance = channel_importance(network, groups, DataSet(*nothing), contract, "group-l2", seed=0)
    solution = solve(network, contract.image, groups, importance, predict, budget, MINIMUM_CHANNELS)
    return removed_fraction(groups, solution.removals) if solution.reached else None


def least_important(importance: NDArray[np.float64], count: int) -> tuple[int, ...]:
    """Return the ``count`` channels that a group would miss least, least important first."""
    return tuple(int(channel) for channel in np.argsort(importance, kind="stable")[:count])


def _as_told(
    network: nn.Module,
    contract: InputContract,
    groups: Sequence[Group],
    importance: Importance,
    predict: Predict,
    keep: Mapping[str, int],
    budget: int,
) -> Solution:
    """Remove the least important channels of each group down to the counts given."""
    channels = {group.name: group.channels for group in groups}
    for name, count in keep.items():
        if name not in channels:
            raise RecipeError(
                "the network has no such group of channels",
                where=f"prune.keep: {name}",
                remedy=f"groups: {', '.join(channels)}",
            )
        if count > channels[name]:
            raise RecipeError(f"the group has only {channels[name]} channels", where=f"prune.keep: {name}: {count}")
    removals = {
        name: least_important(importance[name], count - keep.get(name, count)) for name, count in channels.items()
    }
    now = predict(remove_channels(network, contract.image, removals))
    return Solution(removals, now, reached=now <= budget)


def _change(group: Group, importance: Importance, solution: Solution, before: int) -> GroupChange:
    removed = list(solution.removals[group.name])
    weights: NDArray[np.float64] = importance[group.name]
    total = float(weights.sum())
    kept = 1.0 - float(weights[removed].sum()) / total if total > 0 else 1.0
    return GroupChange(group.name, group.layers, before, group.channels - len(removed), kept)
