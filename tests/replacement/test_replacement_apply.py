"""The whole step on a network trained here in a few seconds."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from replacement_samples import lifted
from torch import fx, nn

from pipeline.errors import NetworkError
from pipeline.kpu.check import check_network
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.recipe import Replace, load_recipe
from pipeline.replacement.apply import Replaced, replace_network
from pipeline.replacement.candidates import Candidates
from pipeline.replacement.convolution import blank_conv
from pipeline.replacement.judge import by_labels
from pipeline.replacement.plan import structure
from pipeline.replacement.regression import regress
from pipeline.replacement.rewrite import Step, rewrite
from pipeline.replacement.rule import Built, Match, Site
from pipeline.replacement.rules.large_kernel import RULE as LARGE_KERNEL
from pipeline.training.accuracy import accuracy, predict
from pipeline.training.data.load import calibration_images, load_training
from pipeline.training.data.sets import DataSet, Training
from pipeline.training.loop import FitSettings, fit

ROOT = Path(__file__).parents[2]
SETTINGS = Replace(max_drop=0.02, regression_steps=60, distil_steps=10)


@dataclass(frozen=True)
class Trained:
    network: fx.GraphModule
    contract: InputContract
    data: Training
    calibration: np.ndarray


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A small network with a 7×7 stem of stride 2, a 5×5, a 3×1 and a 1×3, on a part of the data that ships."""
    data = load_training(load_recipe(ROOT / "recipes" / "fashion-mnist-mini.yaml").data, 0, ROOT)
    rows = np.arange(1500)
    data = Training(data.train.take(rows), data.validation)
    contract = InputContract((1, 32, 32), (0.286,), (0.353,))
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 12, 5, 2, 2, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.Dropout(0.1)]
    layers += [nn.Conv2d(12, 12, (3, 1), 1, (1, 0)), nn.Conv2d(12, 16, (1, 3), 1, (0, 1)), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    network = nn.Sequential(OrderedDict((f"l{index}", layer) for index, layer in enumerate(layers)))
    fit(network, data.train, contract, FitSettings(epochs=4, lr=0.1, batch=32), seed=0)
    return Trained(to_torch(to_onnx(network, contract)), contract, data, calibration_images(data, 0, 64))


def replaced(trained: Trained, settings: Replace = SETTINGS, seed: int = 0) -> Replaced:
    data = trained.data
    return replace_network(
        trained.network, trained.contract, trained.calibration, data.train, data.validation, settings, seed=seed
    )


def test_a_trained_network_keeps_its_accuracy(trained: Trained) -> None:
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    done = replaced(trained)
    report = done.report
    assert all(torch.equal(value, before[name]) for name, value in trained.network.state_dict().items())
    assert not trained.network.training
    assert not done.network.training
    assert done.contract == trained.contract

    scores = report.accuracy
    assert scores.before == accuracy(trained.network, trained.data.validation, trained.contract) > 0.6
    assert scores.after_exact == pytest.approx(scores.before, abs=0.002)
    assert scores.after == accuracy(done.network, trained.data.validation, done.contract)
    assert scores.after >= max(scores.after_regression, scores.after_distillation)
    assert scores.before - scores.after <= 0.02
    assert report.accepted
    assert report.notes == ()
    assert report.distil_steps == 10
    assert report.logit_error < 1e-4

    by_name = {layer.name: layer for layer in report.layers}
    assert by_name["l0"].becomes == ("l0_shift1", "l0")
    assert {"normalisation", "pad-kernel", "shift-kernel"} <= {tried.rule for tried in by_name["l0"].tried}
    assert by_name["l3"].becomes == ("l3_part1", "l3")
    learned = by_name["l3"].measured
    assert learned["error_fitted"] < 0.5 * learned["error_initial"]
    assert learned["accuracy_before"] == scores.after_exact
    assert learned["accuracy_after"] == scores.after_regression
    assert by_name["l7"].tried[-1].rule == "pad-kernel"
    assert "kpu_utils.h:36" in by_name["l3"].because
    assert json.loads(json.dumps(report.as_dict()))["accuracy"]["after"] == scores.after


def test_it_has_the_structure_that_was_planned_and_lowers(trained: Trained) -> None:
    done = replaced(trained, Replace(max_drop=1.0, regression_steps=1, distil_steps=0))
    planned = structure(trained.network, trained.contract)
    assert [
        (n.target, repr(planned.get_submodule(n.target))) for n in planned.graph.nodes if n.op == "call_module"
    ] == [
        (n.target, repr(done.network.get_submodule(n.target)))
        for n in done.network.graph.nodes
        if n.op == "call_module"
    ]
    model = to_onnx(done.network, done.contract)
    kernels = {
        tuple(attribute.ints)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "kernel_shape"
    }
    assert kernels == {(3, 3)}
    assert "Relu" not in {node.op_type for node in model.graph.node}
    images = trained.calibration[:4]
    again = predict(to_torch(model), images, done.contract)
    np.testing.assert_allclose(again, predict(done.network, images, done.contract), atol=1e-4)


def test_pools_behind_large_kernels_come_out_as_planned(trained: Trained) -> None:
    layers = OrderedDict(
        conv=nn.Conv2d(1, 8, 5, 1, 2), act=nn.ReLU(), pool=nn.MaxPool2d(2), next=nn.Conv2d(8, 8, 7, 1, 3)
    )
    layers.update(act2=nn.ReLU(), pool2=nn.MaxPool2d(2), mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
    sample = lifted(layers, (1, 32, 32))
    data = trained.data
    settings = Replace(max_drop=1.0, regression_steps=1, distil_steps=0)
    done = replace_network(
        sample.network, sample.contract, trained.calibration, data.train, data.validation, settings, seed=0
    )
    planned = to_onnx(structure(sample.network, sample.contract), sample.contract)
    assert [node.name for node in to_onnx(done.network, done.contract).graph.node] == [
        n.name for n in planned.graph.node
    ]


def test_equal_seeds_give_equal_networks(trained: Trained) -> None:
    settings = Replace(max_drop=1.0, regression_steps=5, distil_steps=2)
    first, second = replaced(trained, settings), replaced(trained, settings)
    assert first.report == second.report
    weights = first.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in second.network.state_dict().items())
    other = replaced(trained, settings, seed=1)
    assert not torch.equal(other.network.state_dict()["l3.weight"], weights["l3.weight"])


def badly_replaced(trained: Trained, *, must_replace: bool = False) -> tuple[Replaced, DataSet]:
    """Replace where nothing may be lost: fitted on one blank image and hardly distilled, no learned block is good.

    Returns what came of it and the validation images, all of which the network before gets right.
    """
    data = trained.data
    blank = np.zeros((1, 1, 32, 32), np.uint8)
    settings = Replace(max_drop=0.0, regression_steps=0, distil_steps=1)
    answers = predict(trained.network, data.validation.images, trained.contract).argmax(1)
    validation = DataSet(data.validation.images, answers)
    done = replace_network(
        trained.network,
        trained.contract,
        blank,
        data.train,
        validation,
        settings,
        seed=0,
        must_replace=must_replace,
    )
    return done, validation


def test_a_replacement_that_costs_too_much_is_undone_and_reported(trained: Trained) -> None:
    done, validation = badly_replaced(trained)
    report = done.report
    assert report.accuracy.before == report.accuracy.after == accuracy(done.network, validation, done.contract) == 1.0
    assert report.accepted
    assert report.distil_steps == 3
    assert "l3; raise replace.distil_steps" in report.notes[0]
    undone = next(layer for layer in report.layers if layer.name == "l3")
    assert undone.becomes == ()
    assert undone.tried[-1].rule == "large-kernel"
    assert undone.tried[-1].why.startswith("given up")
    assert next(layer for layer in report.layers if layer.name == "l0").becomes == ("l0_shift1", "l0")


def test_what_no_kmodel_could_hold_is_replaced_whatever_it_costs(trained: Trained) -> None:
    done, _ = badly_replaced(trained, must_replace=True)
    report = done.report
    assert not report.accepted
    assert "over replace.max_drop" in report.notes[0]
    assert next(layer for layer in report.layers if layer.name == "l3").becomes
    model = to_onnx(done.network, done.contract)
    assert not [finding for finding in check_network(model).violations if finding.layer not in ("flat", "fc")]


def test_of_several_rules_the_best_is_taken_then_the_next(trained: Trained) -> None:
    def narrow(site: Site, match: Match) -> Built:
        conv = site.module()
        assert isinstance(conv, nn.Conv2d)
        parts = (blank_conv(conv.in_channels, 1, bias=False, stride=2), blank_conv(1, conv.out_channels, bias=True))
        return Built(nn.Sequential(OrderedDict(part1=parts[0], part2=parts[1])))

    rules = [replace(LARGE_KERNEL, name="narrow", build=narrow, initialise=None), LARGE_KERNEL]
    settings = Replace(max_drop=0.0, regression_steps=20, distil_steps=0)
    judge = by_labels(trained.data.validation)
    before = judge(trained.network, trained.contract)
    candidates = Candidates(trained.network, trained.contract, trained.calibration, judge, settings, 0, before)

    def steps() -> dict[str, Step]:
        candidates.begin()
        done = rewrite(trained.network, trained.contract, rules, candidates.choose, candidates.placed)
        return {step.rule.name: step for step in done.steps if step.layer == "l3"}

    first = steps()
    assert first["large-kernel"].taken
    assert not first["narrow"].taken
    assert first["narrow"].why.startswith("another was better: accuracy ")
    measured = candidates.measured["l3"]
    assert measured["cycles"] > 0
    assert measured["kmodel_bytes"] > 8 * 12 * 9
    assert candidates.give_up(2)  # l0 as well
    assert steps()["narrow"].taken
    assert candidates.give_up(2)
    assert not any(step.taken for step in steps().values())
    assert not candidates.give_up(2)


def test_a_network_with_nothing_to_replace_comes_out_unchanged(trained: Trained) -> None:
    layers = OrderedDict(conv=nn.Conv2d(1, 3, 3, 1, 1), act=nn.ReLU6(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
    layers["classifier"] = nn.Linear(3, 10)
    sample = lifted(layers, (1, 32, 32))
    data = trained.data
    done = replace_network(
        sample.network, sample.contract, trained.calibration, data.train, data.validation, SETTINGS, seed=0
    )
    assert done.network.code == sample.network.code
    assert all(torch.equal(v, sample.network.state_dict()[name]) for name, v in done.network.state_dict().items())
    assert done.report.notes == ("nothing to replace: the network is unchanged",)
    assert done.report.distil_steps == 0
    assert done.report.accuracy.after == done.report.accuracy.before
    assert done.report.accepted


def test_coloured_images_get_one_range_and_the_border_error_is_reported() -> None:
    contract = InputContract((3, 8, 8), (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    layers = OrderedDict(stem=nn.Conv2d(3, 6, 3, 1, 1), act=nn.ReLU(), conv=nn.Conv2d(6, 6, 5, 2, 2))
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
    sample = lifted(layers, contract.image, contract=contract)
    random = np.random.default_rng(0)
    data = DataSet(random.integers(0, 256, (64, 3, 8, 8), np.uint8), random.integers(0, 6, 64))
    done = replace_network(sample.network, contract, data.images, data, data, SETTINGS, seed=0)
    assert done.contract.is_uniform
    assert done.contract.input_range[0] < 0 < done.contract.input_range[1]
    stem = next(layer for layer in done.report.layers if layer.name == "stem")
    assert 0 < stem.measured["error"] < stem.measured["error_border"] < 0.2
    assert done.report.logit_error < 0.1


def test_no_calibration_images_is_an_error(trained: Trained) -> None:
    data = trained.data
    with pytest.raises(NetworkError, match="no calibration images"):
        replace_network(
            trained.network, trained.contract, trained.calibration[:0], data.train, data.validation, SETTINGS, seed=0
        )


def test_a_fit_that_ends_worse_is_undone() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)
    inputs = torch.randn(10, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    outputs = conv(inputs).detach()
    block = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    block[0].load_state_dict(conv.state_dict())
    result = regress(block, inputs, outputs, 3, 0, "fitting")
    assert result.fitted == result.initial == 0.0
    assert torch.equal(block[0].weight, conv.weight)
