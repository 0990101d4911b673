"""What every rule must do, whoever wrote it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replacement_samples import SAMPLES, Sample
from torch import fx, nn

from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.replacement.regression import record, regress
from pipeline.replacement.rewrite import Candidate, Choice, Rewritten, rewrite
from pipeline.replacement.rule import Rule
from pipeline.replacement.rules import all_rules
from pipeline.training.accuracy import predict

EXACT = [rule for rule in all_rules() if rule.kind == "exact"]
LEARNED = [rule for rule in all_rules() if rule.kind == "learned"]
some = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def by_name(rules: list[Rule]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rule", rules, ids=[rule.name for rule in rules])


def applied(rule: Rule, sample: Sample) -> Rewritten:
    done = rewrite(sample.network, sample.contract, [rule])
    assert any(step.taken for step in done.steps), [step.why for step in done.steps]
    return done


def pixels(contract: InputContract, seed: int = 0, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *contract.image), np.uint8)


def structure_of(network: fx.GraphModule) -> list[tuple[str, str]]:
    return [
        (str(node.target), repr(network.get_submodule(str(node.target))))
        for node in network.graph.nodes
        if node.op == "call_module"
    ]


def largest_difference(given_: np.ndarray, wanted: np.ndarray, margin: int) -> float:
    inner = slice(margin, -margin or None)
    difference = np.abs(given_ - wanted)[:, :, inner, inner]
    return float(difference.max() / max(np.abs(wanted).max(), 1e-12))


def in_onnxruntime(network: fx.GraphModule, contract: InputContract, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(to_onnx(network, contract).SerializeToString())
    return session.run(None, {"image": contract.normalise(images)})[0]


def test_every_rule_has_samples_and_says_what_it_is() -> None:
    assert sorted(SAMPLES) == sorted(rule.name for rule in all_rules())
    for rule in all_rules():
        assert all((rule.matches, rule.becomes, rule.why, rule.source)), rule.name
        assert (rule.initialise is not None) == (rule.kind == "learned"), rule.name


@by_name(EXACT)
def test_exact_outputs_are_equal(rule: Rule) -> None:
    @some
    @given(sample=SAMPLES[rule.name]())
    def check(sample: Sample) -> None:
        done = applied(rule, sample)
        assert done.contract is not None
        images = pixels(sample.contract)
        wanted = predict(sample.network, images, sample.contract)
        assert largest_difference(predict(done.network, images, done.contract), wanted, sample.margin) <= 1e-5
        assert largest_difference(in_onnxruntime(done.network, done.contract, images), wanted, sample.margin) <= 1e-5

    check()


@by_name(list(all_rules()))
def test_shapes_stay_the_network_given_is_untouched_and_nothing_is_left_to_do(rule: Rule) -> None:
    @some
    @given(sample=SAMPLES[rule.name]())
    def check(sample: Sample) -> None:
        weights, code = copy.deepcopy(sample.network.state_dict()), sample.network.code
        random_state = torch.random.get_rng_state()
        done = applied(rule, sample)
        assert torch.equal(torch.random.get_rng_state(), random_state)
        assert sample.network.code == code
        assert all(torch.equal(value, weights[name]) for name, value in sample.network.state_dict().items())
        images = torch.zeros(2, *sample.contract.image)
        assert done.network(images).shape == sample.network(images).shape
        assert not any(step.taken for step in rewrite(done.network, done.contract, [rule]).steps)
        assert structure_of(rewrite(sample.network, sample.contract, [rule]).network) == structure_of(done.network)

    check()


@by_name(list(all_rules()))
def test_what_was_replaced_trains_and_shares_no_weights(rule: Rule) -> None:
    @settings(some, max_examples=3)
    @given(sample=SAMPLES[rule.name]())
    def check(sample: Sample) -> None:
        done = applied(rule, sample)
        shared = {id(value) for value in sample.network.parameters()}
        fresh = [step.becomes for step in done.steps if step.taken]
        for name in (layer for layers in fresh for layer in layers):
            assert not shared & {id(value) for value in done.network.get_submodule(name).parameters()}
        done.network.train()(torch.randn(2, *sample.contract.image)).square().sum().backward()
        assert all(value.grad is not None for value in done.network.parameters())

    check()


@by_name([rule for rule in LEARNED if not rule.resamples])
def test_regression_brings_a_learned_block_near_the_layer_it_replaces(rule: Rule) -> None:
    @settings(some, max_examples=3)
    @given(sample=SAMPLES[rule.name](), seed=st.integers(0, 9))
    def check(sample: Sample, seed: int) -> None:
        errors = []

        def fitted(candidates: Sequence[Candidate]) -> Choice:
            (candidate,) = candidates
            match, built = candidate.match, candidate.built
            read, gives = str(match.nodes[0].all_input_nodes[0].target), str(match.nodes[-1].target)
            images = pixels(sample.contract, seed, 40)
            values = record(sample.network, (read, gives), images, sample.contract)
            blank = copy.deepcopy(built.chain)
            rule.initialise(candidate.site, match, built.chain, values[read], values[gives], seed)
            fit = regress(built.chain, values[read], values[gives], 40, seed, "fitting")
            for layer in blank:
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    with torch.random.fork_rng():
                        torch.manual_seed(seed)
                        layer.reset_parameters()
            at_random = regress(blank, values[read], values[gives], 40, seed, "fitting")
            errors.append((fit, at_random))
            return Choice(candidate)

        rewrite(sample.network, sample.contract, [rule], fitted)
        for fit, at_random in errors:
            assert fit.fitted < 0.5
            assert fit.fitted <= 0.8 * at_random.fitted

    check()
