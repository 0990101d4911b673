"""How much each group's channels matter, measured once; and the candidates that follow from it, tried first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from pipeline.progress import track
from pipeline.pruning.apply import remove_channels
from pipeline.pruning.prune import MINIMUM_CHANNELS, least_important
from pipeline.pruning.solve import solve
from pipeline.search.problem import Problem
from pipeline.steps.predicted import predicted_bytes
from pipeline.training.accuracy import predict

Sensitivity = Mapping[str, tuple[float, ...]]
"""For each group, how much the loss rises with the share of its channels in ``SHARES`` gone."""

SHARES = (0.0, 0.25, 0.5, 0.75)
_STEPS = 16  # a group shrinks by a sixteenth at a time
_MARGIN = 0.99  # of the budget, as in ``prune``


def sensitivity(problem: Problem) -> Sensitivity:
    """Return how much the cross-entropy on validation images rises as each group alone is pruned, nothing learnt again.

    The least important channels go first, as they do in ``prune``.
    """
    whole = _loss(problem, problem.narrow)
    rises = {}
    for group in track(problem.groups, "measuring sensitivity"):
        losses = [0.0]
        for share in SHARES[1:]:
            count = min(int(group.channels * share), max(group.channels - MINIMUM_CHANNELS, 0))
            gone = {group.name: least_important(problem.importance[group.name], count)}
            pruned = remove_channels(problem.narrow, problem.contract.image, gone)
            losses.append(max(_loss(problem, pruned) - whole, losses[-1]))
        rises[group.name] = tuple(losses)
    return rises


def by_sensitivity(problem: Problem, measured: Sensitivity, budgets: Sequence[int]) -> list[dict[str, int] | None]:
    """Return for each budget (bytes) the channels that each group keeps, pruned where the loss rises least for a byte.

    The price of a group's channels rises as it shrinks, which keeps one group from becoming the bottleneck. Bytes a
    channel are predicted anew after each budget, as they fall when the neighbours shrink. None where even the smallest
    network is over the budget.
    """
    channels = {group.name: group.channels for group in problem.groups}
    keep, now = dict(channels), _bytes(problem, channels)
    found: dict[int, dict[str, int]] = {}
    for budget in sorted(budgets, reverse=True):
        prices = _bytes_a_channel(problem, keep, now)
        while now > budget * _MARGIN:
            options = []
            for name, count in keep.items():
                fewer = _shrunk(count, channels[name])
                if fewer < count:
                    rise = _at(measured[name], 1 - fewer / channels[name]) - _at(
                        measured[name], 1 - count / channels[name]
                    )
                    # As in ``pruning.solve``: what is left takes up the work of what is gone.
                    scarce = channels[name] / fewer
                    options.append((rise * scarce / (prices[name] * (count - fewer)), name, fewer))
            if not options:
                break
            _, name, fewer = min(options)
            keep[name] = fewer
            now = _bytes(problem, keep)
        if now <= budget:
            found[budget] = dict(keep)
    return [found.get(budget) for budget in budgets]


def _bytes_a_channel(problem: Problem, keep: Mapping[str, int], now: int) -> dict[str, float]:
    """Return what a channel of each group costs, near ``keep``: bytes, at least 1."""
    prices = {}
    for group in problem.groups:
        count = keep[group.name]
        fewer = max(count - max(count // 4, 1), min(MINIMUM_CHANNELS, count))
        there = _bytes(problem, {**keep, group.name: fewer}) if fewer < count else now
        prices[group.name] = max((now - there) / max(count - fewer, 1), 1.0)
    return prices


def by_importance(problem: Problem, budgets: Sequence[int]) -> list[dict[str, int] | None]:
    """Return for each budget (bytes) the channels that each group keeps, as ``prune`` would solve for it."""
    channels = {group.name: group.channels for group in problem.groups}
    found: list[dict[str, int] | None] = []
    for budget in budgets:
        solution = solve(
            problem.narrow,
            problem.contract.image,
            problem.groups,
            problem.importance,
            lambda network: predicted_bytes(network, problem.contract, (problem.version,), problem.recipe.replace),
            int(budget * _MARGIN),
            MINIMUM_CHANNELS,
        )
        kept = {name: count - len(solution.removals[name]) for name, count in channels.items()}
        found.append(kept if solution.reached else None)
    return found


def _shrunk(count: int, channels: int) -> int:
    return max(count - max(channels // _STEPS, 1), min(MINIMUM_CHANNELS, channels))


def _at(losses: Sequence[float], share: float) -> float:
    return float(np.interp(share, SHARES, losses))


def _bytes(problem: Problem, keep: Mapping[str, int]) -> int:
    gone = {name: least_important(problem.importance[name], count) for name, count in problem.channels_of(keep).items()}
    pruned = remove_channels(problem.narrow, problem.contract.image, gone)
    return predicted_bytes(pruned, problem.contract, (problem.version,), problem.recipe.replace)


def _loss(problem: Problem, network: nn.Module) -> float:
    validation = problem.data.validation
    logits = torch.from_numpy(predict(network, validation.images, problem.contract))
    return float(nn.functional.cross_entropy(logits, torch.from_numpy(validation.labels)))
