"""Which channels to remove so that a network's predicted bytes meet a budget.

Every channel of every group gets a price, its importance for each byte that it costs; channels go in the order of
their price, over all groups, and bisection finds how many must. A group's bytes a channel are measured by prediction
and measured again on the first solution, as they fall when the neighbours shrink. Importance was measured with all
other channels there, and those left over take up the work of those gone: so the price of a group's channels rises as
its channels divided by those still left, which keeps one group from becoming the bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from pipeline.pruning.apply import remove_channels
from pipeline.pruning.groups import Group, Image
from pipeline.pruning.importance import Importance

Predict = Callable[[nn.Module], int]
Removals = Mapping[str, tuple[int, ...]]

_ROUNDS = 2
_PROBE = 4  # a quarter of a group is removed to measure its bytes a channel: one channel may vanish in alignment


@dataclass(frozen=True)
class Solution:
    """Channels to remove.

    Attributes:
        removals: for each group's name, the channels.
        predicted: bytes of the network without them.
        reached: whether that meets the budget; if not, ``removals`` is all that may be removed.
    """

    removals: Removals
    predicted: int
    reached: bool


def solve(
    network: nn.Module,
    image: Image,
    groups: Sequence[Group],
    importance: Importance,
    predict: Predict,
    budget: int,
    minimum: int,
) -> Solution:
    """Return the fewest channels, cheapest first, whose removal brings ``network`` within ``budget``.

    Args:
        network: not changed.
        image: channels, height, width.
        groups: what may be pruned.
        importance: of every channel (`importance.channel_importance`).
        predict: bytes of a network; called about 2·(groups + log₂ channels) times.
        budget: bytes.
        minimum: channels that each group keeps.
    """
    nothing: Removals = {group.name: () for group in groups}
    whole = predict(network)
    if whole <= budget:
        return Solution(nothing, whole, True)
    orders = {group.name: _removable(group, importance, minimum) for group in groups}
    smallest: Removals = {name: tuple(order) for name, order in orders.items()}
    least = predict(remove_channels(network, image, smallest))
    if least > budget:
        return Solution(smallest, least, False)
    solution = Solution(nothing, whole, False)
    for _ in range(_ROUNDS):
        costs = _bytes_a_channel(network, image, groups, orders, solution, predict)
        ranking = sorted(
            (_price(group, importance[group.name][channel], costs[group.name], position), position, group.name)
            for group in groups
            for position, channel in enumerate(orders[group.name])
        )
        solution = _bisect(network, image, [name for *_, name in ranking], orders, predict, budget, least)
    return solution


def removed_fraction(groups: Sequence[Group], removals: Removals) -> float:
    """Return the share of all prunable channels that ``removals`` takes."""
    return sum(map(len, removals.values())) / max(sum(group.channels for group in groups), 1)


def _price(group: Group, importance: float, cost: float, gone: int) -> float:
    """Return what the next channel of ``group`` is worth a byte, ``gone`` channels being gone already."""
    return importance / cost * group.channels / (group.channels - gone)


def _removable(group: Group, importance: Importance, minimum: int) -> list[int]:
    """Return the channels of a group that may go, least important first."""
    order = np.argsort(importance[group.name], kind="stable")
    return [int(channel) for channel in order[: max(group.channels - minimum, 0)]]


def _bytes_a_channel(
    network: nn.Module,
    image: Image,
    groups: Sequence[Group],
    orders: Mapping[str, list[int]],
    base: Solution,
    predict: Predict,
) -> dict[str, float]:
    """Return what one channel of each group costs, near ``base``: bytes, at least 1."""
    costs = {}
    for group in groups:
        order, gone = orders[group.name], len(base.removals[group.name])
        probe = min(max(group.channels // _PROBE, 1), len(order))
        if probe == 0:
            costs[group.name] = 1.0
            continue
        other = gone + probe if gone + probe <= len(order) else gone - probe
        other = min(max(other, 0), len(order))
        bytes_there = predict(remove_channels(network, image, {**base.removals, group.name: order[:other]}))
        costs[group.name] = max((base.predicted - bytes_there) / (other - gone), 1.0) if other != gone else 1.0
    return costs


def _bisect(
    network: nn.Module,
    image: Image,
    ranking: Sequence[str],
    orders: Mapping[str, list[int]],
    predict: Predict,
    budget: int,
    least: int,
) -> Solution:
    """Remove as few from the front of ``ranking`` (a group's name for each channel) as the budget allows."""

    def removals(count: int) -> Removals:
        taken = dict.fromkeys(orders, 0)
        for name in ranking[:count]:
            taken[name] += 1
        return {name: tuple(order[: taken[name]]) for name, order in orders.items()}

    low, high = 0, len(ranking)  # too few, enough
    predicted = least
    while high - low > 1:
        middle = (low + high) // 2
        bytes_there = predict(remove_channels(network, image, removals(middle)))
        if bytes_there <= budget:
            high, predicted = middle, bytes_there
        else:
            low = middle
    return Solution(removals(high), predicted, True)
