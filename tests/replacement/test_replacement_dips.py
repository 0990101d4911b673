"""Activations with a dip: what cuts it off, where, and what is taken for them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from sample_form import Sample, lifted
from samples_pools import Bottleneck
from torch import fx, nn

from pipeline.kpu.check import check_network
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Add
from pipeline.recipe import Replace
from pipeline.replacement.apply import replace_network
from pipeline.replacement.dips import DIPS
from pipeline.replacement.rewrite import rewrite
from pipeline.replacement.rules.clamped_activation import RULE as CLAMPED
from pipeline.replacement.rules.curved_activation import RULE as CURVED
from pipeline.replacement.rules.pinned_activation import RULE as PINNED
from pipeline.replacement.rules.residual_carry import RULE as CARRY
from pipeline.training.data.sets import DataSet


def findings(sample: Sample) -> set[str]:
    return {finding.rule for finding in check_network(to_onnx(sample.network, sample.contract)).findings}


@pytest.mark.parametrize("activation", DIPS, ids=lambda kind: kind.__name__)
def test_clamped_at_its_dip_it_never_falls_and_is_itself_above(activation: type[nn.Module]) -> None:
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    whole, clamped = activation()(z), activation()(z.clamp_min(DIPS[activation]))
    assert (clamped.diff() >= -1e-9).all()
    assert float(clamped.min() - whole.min()) == pytest.approx(0, abs=1e-5)
    assert torch.equal(clamped[z > DIPS[activation]], whole[z > DIPS[activation]])
    assert (whole.diff()[z[1:] < DIPS[activation] - 0.1] <= 0).all()


@pytest.mark.parametrize("activation", DIPS, ids=lambda kind: kind.__name__)
def test_check_warns_of_the_dip_and_not_of_the_clamped_one(activation: type[nn.Module]) -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), act=activation(), last=nn.Conv2d(8, 4, 1))
    sample = lifted(layers, (3, 8, 8))
    assert "non-monotonic-activation" in findings(sample)
    done = rewrite(sample.network, sample.contract, [PINNED])
    mended = Sample(done.network, sample.contract)
    assert not findings(mended)
    again = rewrite(mended.network, mended.contract, [PINNED, CURVED])
    assert not any(step.taken for step in again.steps)


def test_in_a_branch_it_is_left_to_rules_through_which_the_other_branch_passes() -> None:
    layers = OrderedDict(
        stem=nn.Conv2d(3, 8, 3, 1, 1), before=nn.SiLU(), block=Bottleneck(8, nn.SiLU()), mix=nn.Conv2d(8, 4, 1)
    )
    layers["behind"] = nn.SiLU()
    done = rewrite(*_parts(lifted(layers, (3, 8, 8))), [PINNED])
    assert {step.layer: step.taken for step in done.steps} == {"before": True, "block_curved": False, "behind": True}


def test_a_branch_with_a_clamp_and_a_slope_lets_the_other_pass() -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), block=Bottleneck(8, nn.SiLU()), mix=nn.Conv2d(8, 4, 1))
    network, contract = _parts(lifted(layers, (3, 8, 8)))
    done = rewrite(rewrite(network, contract, [CLAMPED]).network, contract, [CARRY])
    kinds = [type(module) for module in done.network.children()]
    assert Add not in kinds
    assert kinds.count(nn.Hardtanh) == kinds.count(nn.LeakyReLU) == 1
    assert not check_network(to_onnx(done.network, contract)).violations


def test_of_replacements_that_cost_the_same_the_nearest_is_taken() -> None:
    layers = OrderedDict(stem=nn.Conv2d(1, 8, 3, 1, 1), bn=nn.BatchNorm2d(8), act=nn.SiLU(), last=nn.Conv2d(8, 4, 3))
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
    sample = lifted(layers, (1, 8, 8))
    random = np.random.default_rng(0)
    data = DataSet(random.integers(0, 256, (64, 1, 8, 8), np.uint8), random.integers(0, 4, 64))
    stem, norm = sample.network.get_submodule("stem"), sample.network.get_submodule("bn")
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():  # so that what the activation reads is about normal, as in trained networks
        given = stem(torch.from_numpy(sample.contract.normalise(data.images)))
        norm.running_mean, norm.running_var = given.mean((0, 2, 3)), given.var((0, 2, 3))
        norm.weight.fill_(1.0)
        norm.bias.zero_()
    settings = Replace(max_drop=1.0, regression_steps=5, distil_steps=0)
    report = replace_network(*_parts(sample), data.images, data, data, settings, seed=0).report
    act = next(layer for layer in report.layers if layer.name == "act")
    assert [tried.rule for tried in act.tried if tried.taken] == [PINNED.name]
    assert any(tried.rule == CURVED.name and not tried.taken for tried in act.tried)


def _parts(sample: Sample) -> tuple[fx.GraphModule, InputContract]:
    return sample.network, sample.contract
