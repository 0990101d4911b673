from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import fx, nn

from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.pruning.apply import remove_channels
from pipeline.pruning.groups import find_groups
from pipeline.pruning.importance import channel_importance
from pipeline.training.data.sets import DataSet

MakeNetwork = Callable[[str], fx.GraphModule]
IMAGE = (3, 16, 16)


def run(network: nn.Module) -> torch.Tensor:
    images = torch.randn(5, *IMAGE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits: torch.Tensor = network(images)
    return logits


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        ("plain", [12, 20, 16]),
        ("depthwise", [16, 24]),
        ("residual", [12, 18, 20, 20]),
        ("concatenating", [10, 6, 8]),
        ("bound", [8]),
    ],
)
def test_every_kind_of_coupling_is_found(make_network: MakeNetwork, kind: str, channels: list[int]) -> None:
    assert [group.channels for group in find_groups(make_network(kind), IMAGE)] == channels


def test_a_residual_sum_ties_its_layers(make_network: MakeNetwork) -> None:
    trunk = find_groups(make_network("residual"), IMAGE)[0]
    convolutions = {layer for layer in trunk.layers if layer.endswith(("_0", ".0", "shortcut"))}
    assert {layer.split("_")[0].split(".")[0] for layer in convolutions} >= {"stem", "left1", "left2", "down1"}


def test_finding_changes_nothing(network: fx.GraphModule) -> None:
    before, shapes = run(network), [value.shape for value in network.state_dict().values()]
    find_groups(network, IMAGE)
    assert torch.equal(run(network), before)
    assert [value.shape for value in network.state_dict().values()] == shapes


def test_removed_channels_are_gone_and_the_original_is_not(network: fx.GraphModule) -> None:
    before = run(network)
    groups = find_groups(network, IMAGE)
    pruned = remove_channels(network, IMAGE, {group.name: [0, group.channels - 1] for group in groups})
    assert isinstance(pruned, fx.GraphModule)
    assert torch.equal(run(network), before)
    assert run(pruned).shape == before.shape
    assert [group.channels for group in find_groups(pruned, IMAGE)] == [group.channels - 2 for group in groups]
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in network.parameters())


def test_removing_nothing_gives_an_equal_copy(network: fx.GraphModule) -> None:
    copy = remove_channels(network, IMAGE, {group.name: [] for group in find_groups(network, IMAGE)})
    assert copy is not network
    assert torch.equal(run(copy), run(network))


def test_channels_that_say_nothing_can_go_without_loss(make_network: MakeNetwork) -> None:
    network = make_network("plain")
    groups = find_groups(network, IMAGE)
    dead = {group.name: [1, 4, 7] for group in groups}
    modules = dict(network.named_modules())
    for group in groups:
        for layer in group.layers:
            module = modules[layer]
            if isinstance(module, nn.BatchNorm2d):
                with torch.no_grad():
                    module.weight[[1, 4, 7]] = 0
                    module.bias[[1, 4, 7]] = 0
    torch.testing.assert_close(run(remove_channels(network, IMAGE, dead)), run(network))


def test_a_pruned_network_passes_through_onnx(network: fx.GraphModule, contract: InputContract) -> None:
    pruned = remove_channels(network, IMAGE, {group.name: [2] for group in find_groups(network, IMAGE)})
    lifted = to_torch(to_onnx(pruned, contract))
    torch.testing.assert_close(run(lifted.eval()), run(pruned), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["group-taylor", "group-l2"])
def test_importance_is_the_same_each_time_and_changes_nothing(
    network: fx.GraphModule, train: DataSet, contract: InputContract, method: str
) -> None:
    before, groups = run(network), find_groups(network, IMAGE)
    first, again = (channel_importance(network, groups, train, contract, method, seed=0) for _ in range(2))
    assert {name: len(values) for name, values in first.items()} == {group.name: group.channels for group in groups}
    for name, values in first.items():
        assert np.all(np.isfinite(values))
        assert np.all(values >= 0)
        assert values.max() > 0
        np.testing.assert_array_equal(values, again[name])
    assert torch.equal(run(network), before)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("method", ["group-taylor", "group-l2"])
def test_a_channel_that_says_nothing_is_least_important(
    make_network: MakeNetwork, train: DataSet, contract: InputContract, method: str
) -> None:
    network = make_network("plain")
    groups = find_groups(network, IMAGE)
    modules = dict(network.named_modules())
    for group in groups:
        for layer in group.layers:
            module = modules[layer]
            with torch.no_grad():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight[5] = 0
                    module.bias[5] = 0
                elif layer == group.name and isinstance(module, nn.Conv2d):
                    module.weight[5] *= 0.01
    importance = channel_importance(network, groups, train, contract, method, seed=0)
    assert all(int(np.argmin(importance[group.name])) == 5 for group in groups)
