from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import fx, nn

from pipeline.network.contract import InputContract
from pipeline.pruning.groups import find_groups
from pipeline.pruning.prune import MINIMUM_CHANNELS, PruneSettings, prune_network, ratio_that_fits
from pipeline.pruning.solve import removed_fraction, solve
from pipeline.training.data.sets import DataSet

MakeNetwork = Callable[[str], fx.GraphModule]
IMAGE = (3, 16, 16)


def weight_bytes(network: nn.Module) -> int:
    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))


class Counting:
    """A prediction that counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, network: nn.Module) -> int:
        self.calls += 1
        return weight_bytes(network)


@pytest.mark.parametrize("importance", ["group-taylor", "group-l2"])
@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
def test_every_network_meets_its_budget(
    network: fx.GraphModule, train: DataSet, contract: InputContract, importance: str, share: float
) -> None:
    budget, predict = int(share * weight_bytes(network)), Counting()
    result = prune_network(network, train, contract, PruneSettings(budget, importance, 2), predict, seed=0)
    assert result.bytes_before == weight_bytes(network)
    assert result.bytes_after == weight_bytes(result.network)
    assert predict.calls <= 2 * (len(result.changes) + 8) + 3
    assert all(2 <= change.after <= change.before for change in result.changes)
    assert all(0 <= change.importance_kept <= 1 for change in result.changes)
    gone = sum(change.before - change.after for change in result.changes)
    assert result.ratio == pytest.approx(gone / sum(change.before for change in result.changes))
    assert result.reached == (result.bytes_after <= budget)
    assert result.reached or all(change.after == 2 for change in result.changes)
    with torch.no_grad():
        assert result.network(torch.zeros(2, *IMAGE)).shape == (2, 4)
    find = {group.name: group.channels for group in find_groups(result.network, IMAGE)}
    assert find == {change.name: change.after for change in result.changes}


def test_a_budget_already_met_changes_nothing(network: fx.GraphModule, train: DataSet, contract: InputContract) -> None:
    budget = weight_bytes(network)
    result = prune_network(network, train, contract, PruneSettings(budget), weight_bytes, seed=0)
    assert result.reached
    assert result.ratio == 0
    assert all(change.before == change.after for change in result.changes)
    for before, after in zip(network.state_dict().values(), result.network.state_dict().values(), strict=True):
        assert torch.equal(before, after)


def test_a_budget_beyond_reach_gives_the_smallest(
    network: fx.GraphModule, train: DataSet, contract: InputContract
) -> None:
    result = prune_network(network, train, contract, PruneSettings(1), weight_bytes, seed=0)
    assert not result.reached
    assert result.bytes_after == weight_bytes(result.network) > 1
    assert all(change.after == min(change.before, MINIMUM_CHANNELS) for change in result.changes)


def test_a_seed_decides_the_result(make_network: MakeNetwork, train: DataSet, contract: InputContract) -> None:
    network = make_network("residual")
    wanted = PruneSettings(weight_bytes(network) // 2)
    first, again = (prune_network(network, train, contract, wanted, weight_bytes, seed=1) for _ in range(2))
    assert first.changes == again.changes
    for a, b in zip(first.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_groups_shrink_by_importance_not_evenly(make_network: MakeNetwork) -> None:
    network = make_network("plain")
    groups = find_groups(network, IMAGE)
    importance = {group.name: np.full(group.channels, 1.0) for group in groups}
    importance[groups[1].name] = np.linspace(0.001, 0.002, groups[1].channels)
    solution = solve(network, IMAGE, groups, importance, weight_bytes, int(0.7 * weight_bytes(network)), 4)
    taken = [len(solution.removals[group.name]) for group in groups]
    assert taken[1] > 0
    assert taken[0] == taken[2] == 0
    assert solution.removals[groups[1].name] == tuple(range(taken[1]))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.1), minimum=st.integers(1, 30), seed=st.integers(0, 99))
def test_the_fewest_channels_go(make_network: MakeNetwork, share: float, minimum: int, seed: int) -> None:
    network = make_network("depthwise")
    groups = find_groups(network, IMAGE)
    rng = np.random.default_rng(seed)
    importance = {group.name: rng.random(group.channels) for group in groups}
    budget = int(share * weight_bytes(network))
    solution = solve(network, IMAGE, groups, importance, weight_bytes, budget, minimum)
    assert solution.reached == (solution.predicted <= budget)
    for group in groups:
        removed = solution.removals[group.name]
        assert group.channels - len(removed) >= min(minimum, group.channels)
        order = np.argsort(importance[group.name], kind="stable")
        assert list(removed) == order[: len(removed)].tolist()
    if solution.reached and removed_fraction(groups, solution.removals) > 0:
        assert budget - solution.predicted < 400  # no channel of this network weighs more


def test_advice_needs_no_data(make_network: MakeNetwork, contract: InputContract) -> None:
    network = make_network("plain")
    whole = weight_bytes(network)
    ratio = ratio_that_fits(network, contract, weight_bytes, whole // 2)
    assert ratio is not None
    assert 0.1 < ratio < 0.7
    assert ratio_that_fits(network, contract, weight_bytes, whole) == 0.0
    assert ratio_that_fits(network, contract, weight_bytes, 10) is None
