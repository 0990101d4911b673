"""Groups of more channels than the KPU counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from pipeline.kpu.check import check_network
from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Add
from pipeline.pruning.limit import Narrowed, within_channels
from pipeline.pruning.prune import PruneSettings, prune_network
from pipeline.training.accuracy import predict
from pipeline.training.data.sets import DataSet

CONTRACT = InputContract((2, 8, 8), (0.3, 0.3), (0.25, 0.25))
WIDE = 1100
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 2, 8, 8), np.uint8)


class Trunk(nn.Module):
    """Two blocks of a ResNet whose sums are too wide, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.entry = nn.Conv2d(2, 8, 3, 1, 1), nn.Conv2d(8, WIDE, 1)
        self.first, self.sum1 = nn.Conv2d(8, WIDE, 1, bias=False), Add()
        self.norm = nn.BatchNorm2d(WIDE)
        self.inner, self.second, self.sum2 = nn.Conv2d(WIDE, 8, 1, bias=False), nn.Conv2d(8, WIDE, 1), Add()
        self.relu, self.pool, self.flat = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(WIDE, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(self.sum1(self.entry(x), self.norm(self.first(x))))
        x = self.relu(self.sum2(x, self.second(self.relu(self.inner(x)))))
        logits: Tensor = self.head(self.flat(self.pool(x)))
        return logits


class Pair(nn.Module):
    """A wide map between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, WIDE, 1), nn.ReLU(), nn.Conv2d(WIDE, 4, 1), nn.Flatten())
        self.head = nn.Linear(256, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x))
        return logits


def lifted(network: nn.Module) -> fx.GraphModule:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.reset_parameters()
    return to_torch(to_onnx(network.eval(), CONTRACT))


def off_the_kpu(network: nn.Module) -> set[str]:
    return {each.layer for each in check_network(to_onnx(network, CONTRACT)).violations if each.op == "Conv"}


@pytest.fixture(scope="module")
def trunk() -> fx.GraphModule:
    return lifted(Trunk())


@pytest.fixture(scope="module")
def narrowed(trunk: fx.GraphModule) -> Narrowed:
    return within_channels(trunk, CONTRACT, IMAGES)


def test_maps_that_sums_tie_together_are_narrowed_at_once(trunk: fx.GraphModule, narrowed: Narrowed) -> None:
    assert {"entry", "first", "inner", "second"} <= off_the_kpu(trunk)
    assert off_the_kpu(narrowed.network) == set()
    (group,) = narrowed.groups
    assert group.channels == WIDE
    assert narrowed.network.get_submodule("head").in_features == MAX_CHANNELS


def test_the_channels_left_stand_in_for_those_gone(trunk: fx.GraphModule, narrowed: Narrowed) -> None:
    """All are made of eight: what is gone can be told from what is left, as far as the activation lets it."""
    unseen = np.random.default_rng(1).integers(0, 256, (8, 2, 8, 8), np.uint8)
    wanted, given = (predict(network, unseen, CONTRACT) for network in (trunk, narrowed.network))
    assert np.square(given - wanted).mean() < 1e-2 * wanted.var(0).mean()


def test_the_network_given_stays(trunk: fx.GraphModule) -> None:
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    within_channels(trunk, CONTRACT, IMAGES)
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())


def test_a_pair_of_convolutions_is_left_to_replacement() -> None:
    pair = lifted(Pair())
    assert within_channels(pair, CONTRACT, IMAGES) == Narrowed(pair, ())


def test_pruning_narrows_whatever_the_budget_and_says_so(trunk: fx.GraphModule) -> None:
    train = DataSet(IMAGES, np.zeros(len(IMAGES), np.int64))
    done = prune_network(trunk, train, CONTRACT, PruneSettings(budget=10**9), lambda _: 1, seed=0)
    assert off_the_kpu(done.network) == set()
    assert done.ratio > 0
    (change,) = [change for change in done.changes if change.before != change.after]
    assert (change.before, change.after) == (WIDE, MAX_CHANNELS)
