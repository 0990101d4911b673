from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.errors import NetworkError
from pipeline.network.contract import InputContract
from pipeline.training.accuracy import accuracy, predict
from pipeline.training.augment import augment
from pipeline.training.data.sets import DataSet
from pipeline.training.features import feature_loss, watching
from pipeline.training.loop import FitSettings, distillation_loss, fit, schedule
from pipeline.training.modes import evaluating

CONTRACT = InputContract((1, 8, 8), (0.5,), (0.25,))
SETTINGS = FitSettings(epochs=3, lr=0.05, batch=16, augment=("flip", "shift", "erase"))


@pytest.fixture
def network() -> nn.Module:
    """Return an untrained network with BatchNorm and dropout."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(4, 2),
    )


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def test_a_network_learns(network: nn.Module, two_kinds: DataSet) -> None:
    assert accuracy(network, two_kinds, CONTRACT) < 0.6
    result = fit(network, two_kinds, CONTRACT, FitSettings(epochs=8, lr=0.1, batch=16), seed=0)
    assert result.steps == 8 * (120 // 16)
    assert len(result.losses) == 8
    assert result.losses[-1] < result.losses[0] / 2
    assert accuracy(network, two_kinds, CONTRACT) > 0.95


def test_a_seed_decides_every_weight(network: nn.Module, two_kinds: DataSet) -> None:
    copies = [copy.deepcopy(network) for _ in range(3)]
    results = [
        fit(each, two_kinds, CONTRACT, SETTINGS, seed=seed) for each, seed in zip(copies, (1, 1, 2), strict=True)
    ]
    first, again, other = map(weights, copies)
    assert results[0] == results[1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_torchs_own_generator_is_left_alone(network: nn.Module, two_kinds: DataSet) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(network, two_kinds, CONTRACT, SETTINGS, seed=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_left_as_they_were(network: nn.Module, two_kinds: DataSet, training: bool) -> None:
    network.train(training)
    teacher = copy.deepcopy(network)
    frozen = weights(teacher)
    fit(network, two_kinds, CONTRACT, SETTINGS, seed=0, teacher=teacher)
    predict(network, two_kinds.images[:5], CONTRACT)
    assert all(module.training == training for each in (network, teacher) for module in each.modules())
    assert all(torch.equal(a, b) for a, b in zip(frozen, weights(teacher), strict=True))


@pytest.mark.parametrize("steps", [0, 1, 20])
def test_steps_go_before_epochs(network: nn.Module, two_kinds: DataSet, steps: int) -> None:
    settings = FitSettings(epochs=9, lr=0.01, batch=16, steps=steps)
    result = fit(network, two_kinds, CONTRACT, settings, seed=0)
    assert result.steps == steps
    assert len(result.losses) == -(-steps // (120 // 16))


def test_no_epochs_change_nothing(network: nn.Module, two_kinds: DataSet) -> None:
    before = weights(network)
    fit(network, two_kinds, CONTRACT, FitSettings(epochs=0, lr=0.1), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(network), strict=True))


def test_a_batch_larger_than_the_data(network: nn.Module, two_kinds: DataSet) -> None:
    assert fit(network, two_kinds, CONTRACT, FitSettings(epochs=2, lr=0.01, batch=999), seed=0).steps == 2


def test_a_student_follows_its_teacher_without_labels(network: nn.Module, two_kinds: DataSet) -> None:
    assert accuracy(network, two_kinds, CONTRACT) < 0.6
    teacher = copy.deepcopy(network)
    fit(teacher, two_kinds, CONTRACT, FitSettings(epochs=8, lr=0.1, batch=16), seed=0)
    wrong = DataSet(two_kinds.images, 1 - two_kinds.labels)
    settings = FitSettings(epochs=10, lr=0.1, batch=16, distil_weight=1.0)
    fit(network, wrong, CONTRACT, settings, seed=0, teacher=teacher)
    assert accuracy(network, two_kinds, CONTRACT) > 0.95


def test_a_diverging_loss_ends_with_a_remedy(network: nn.Module, two_kinds: DataSet) -> None:
    with torch.no_grad():
        network[6].weight[0, 0] = float("nan")
    with pytest.raises(NetworkError, match="diverged: the loss is nan at step 1") as caught:
        fit(network, two_kinds, CONTRACT, SETTINGS, seed=0)
    assert "lower learning rate" in caught.value.remedy


def test_a_last_step_that_breaks_the_weights_is_noticed(network: nn.Module, two_kinds: DataSet) -> None:
    settings = FitSettings(epochs=1, lr=float("inf"), batch=16, steps=1)
    with pytest.raises(NetworkError, match="weights are no longer finite at step 1"):
        fit(network, two_kinds, CONTRACT, settings, seed=0)


@given(st.integers(1, 3000))
def test_the_schedule_rises_then_falls(total: int) -> None:
    rates = [schedule(step, total) for step in range(total)]
    peak = int(np.argmax(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert all(a <= b for a, b in pairwise(rates[: peak + 1]))
    assert all(a >= b for a, b in pairwise(rates[peak:]))
    if total > 100:
        assert rates[-1] < 0.01
        assert max(rates) > 0.95


def test_distillation_loss_is_the_divergence() -> None:
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(5, 3, generator=rng), torch.randn(5, 3, generator=rng)
    p, q = torch.softmax(teacher / 2, 1), torch.softmax(student / 2, 1)
    expected = 4 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(distillation_loss(student, teacher, 2.0), expected)
    assert float(distillation_loss(teacher, teacher, 2.0)) == pytest.approx(0, abs=1e-6)


def test_predict_normalises_as_the_contract_does(two_kinds: DataSet) -> None:
    logits = predict(nn.Flatten(), two_kinds.images, CONTRACT)
    np.testing.assert_array_equal(logits, CONTRACT.normalise(two_kinds.images).reshape(120, 64))


@pytest.fixture
def pictures() -> torch.Tensor:
    """Return 64 images of 3×9×11, no pixel 0."""
    return torch.randint(1, 256, (64, 3, 9, 11), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def test_flip_mirrors_about_half(pictures: torch.Tensor) -> None:
    flipped = augment(pictures, ["flip"], torch.Generator().manual_seed(0))
    same = [bool(torch.equal(a, b)) for a, b in zip(flipped, pictures, strict=True)]
    mirrored = [bool(torch.equal(a, b.flip(2))) for a, b in zip(flipped, pictures, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 16 < sum(mirrored) < 48


def test_shift_moves_by_up_to_two_and_fills_with_zero(pictures: torch.Tensor) -> None:
    shifted = augment(pictures, ["shift"], torch.Generator().manual_seed(0))
    padded = nn.functional.pad(pictures, (2, 2, 2, 2))
    seen = set()
    for row in range(64):
        places = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(padded[row, :, dy : dy + 9, dx : dx + 11], shifted[row])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15


def test_erase_makes_one_small_hole(pictures: torch.Tensor) -> None:
    erased = augment(pictures, ["erase"], torch.Generator().manual_seed(0))
    holes = erased == 0
    assert torch.equal(torch.where(holes, pictures, erased), pictures)
    touched = 0
    for hole in holes[:, 0]:
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        if len(rows):
            touched += 1
            assert len(rows) <= 3
            assert len(columns) <= 3
            assert int(hole.sum()) == len(rows) * len(columns)
    assert 16 < touched < 48
    assert torch.equal(holes[:, 0], holes[:, 2])


def test_no_augmentation_changes_nothing(pictures: torch.Tensor) -> None:
    assert augment(pictures, [], torch.Generator()) is pictures


def test_features_are_learnt_beside_logits(network: nn.Module, two_kinds: DataSet) -> None:
    teacher = copy.deepcopy(network)
    fit(teacher, two_kinds, CONTRACT, FitSettings(epochs=8, lr=0.1, batch=16), seed=0)
    settings = FitSettings(epochs=8, lr=0.05, batch=16, distil_weight=1.0)
    (layer,) = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][:1]
    images = torch.from_numpy(CONTRACT.normalise(two_kinds.images))

    def far(student: nn.Module) -> float:
        with (
            evaluating(student),
            evaluating(teacher),
            torch.no_grad(),
            watching(student, [layer]) as own,
            watching(teacher, [layer]) as wanted,
        ):
            student(images)
            teacher(images)
            return float(feature_loss(own, wanted, {layer: layer}))

    torch.manual_seed(2)
    nn.init.normal_(network.get_submodule(layer).weight)  # far from the teacher's
    blind, seeing = copy.deepcopy(network), copy.deepcopy(network)
    fit(blind, two_kinds, CONTRACT, settings, seed=1, teacher=teacher)
    fit(seeing, two_kinds, CONTRACT, settings, seed=1, teacher=teacher, features={layer: layer})
    assert far(teacher) == 0
    assert far(seeing) < 0.5 * far(blind)
    assert not any(module._forward_hooks for each in (seeing, teacher) for module in each.modules())
