"""Every rule finds what breaks it, and nothing in what just does not."""

from __future__ import annotations

import time

import pytest
from rules_networks import PAIRS, Graph, Pair, fragments, tiny_behind_norm

from pipeline.kpu.check import check_network
from pipeline.kpu.layers import read_network
from pipeline.kpu.prediction import predict
from pipeline.kpu.rules import Finding, Site, all_rules
from pipeline.kpu.rules.rule import SEVERITIES


def found(graph: Graph, rule: str, *, raw: bool = True, version: int = 5) -> list[Finding]:
    return [each for each in check_network(graph.model(), version, raw=raw).findings if each.rule == rule]


CASES = [
    pytest.param(rule, pair, breaks, index, id=f"{rule}-{'breaks' if breaks else 'holds'}-{index}")
    for rule, pair in PAIRS.items()
    for breaks, graphs in ((True, pair.breaks), (False, pair.holds))
    for index in range(len(graphs))
]


@pytest.mark.parametrize(("rule", "pair", "breaks", "index"), CASES)
def test_rule(rule: str, pair: Pair, breaks: bool, index: int) -> None:
    graph = (pair.breaks if breaks else pair.holds)[index]()
    findings = found(graph, rule, raw=pair.raw, version=pair.version)
    assert bool(findings) == breaks, findings
    assert all(each.seen and each.why and each.limit for each in findings)


def test_every_rule_has_a_network() -> None:
    assert {rule.name for rule in all_rules()} == set(PAIRS)


def test_every_rule_says_what_holds_why_and_whence() -> None:
    for rule in all_rules():
        assert rule.limit, rule.name
        assert rule.source, rule.name
        assert rule.why.endswith((".", ".)")), rule.name
        assert rule.severity in SEVERITIES
        assert rule.replacement or rule.name == "cpu-operator"


def test_all_findings_are_reported_and_not_the_first() -> None:
    graph = Graph(8).conv(8, 5, groups=2, act="clip").conv(8, 7)
    rules = [(each.layer, each.rule) for each in check_network(graph.model(), raw=True).findings]
    assert rules == [("Conv_0", "groups"), ("Conv_0", "kernel"), ("Clip_1", "behind-cpu"), ("Conv_2", "kernel")]


def test_memory_names_the_layer_and_tells_gaps_from_size() -> None:
    (finding,) = found(fragments(80), "kpu-memory")
    assert finding.layer == "Conv_4"
    assert "without the gaps" in finding.seen
    (finding,) = found(Graph(3, 240, 320).conv(16).conv(16), "kpu-memory")
    assert finding.layer == "Conv_1"
    assert "gaps" not in finding.seen


def test_tiny_weights_are_those_behind_the_folded_norm() -> None:
    assert not found(tiny_behind_norm(0.005), "tiny-weights", raw=True)
    (finding,) = found(tiny_behind_norm(0.005), "tiny-weights", raw=False)
    assert finding.seen.startswith("8 of 8 channels (0, 1, 2, …)")


def test_relu_before_a_slice_is_mended_by_preparation() -> None:
    graph = Graph(8).depthwise(2, "relu").conv(8, 1)
    assert found(graph, "activation-before-slice", raw=True)
    assert not found(graph, "activation-before-slice", raw=False)


def test_a_relu_behind_a_transposed_convolution_stays_one() -> None:
    """The preparation makes it a clamp behind a convolution alone: nncase would forget one here."""
    graph = Graph(8, 8, 8).transposed(8, 3, 2, (1,) * 4).act("relu")
    assert not found(graph, "transposed-clip", raw=True)
    assert not found(graph, "transposed-clip", raw=False)


def test_a_head_costs_accuracy_in_v5_only() -> None:
    graph = Graph().conv(8, act="clip").global_mean().gemm(5)
    assert found(graph, "product-on-kpu", version=5)
    assert not check_network(graph.model(), 4).findings


def test_rules_are_fast() -> None:
    graph = Graph(3, 32, 32)
    for _ in range(50):
        graph.conv(16, act="clip").depthwise(1, "clip").conv(16, 1)
    model = graph.model()
    prediction = predict(model)
    network = read_network(model, prediction.program.shapes)
    start = time.perf_counter()
    for layer, predicted in zip(network.layers, prediction.layers, strict=True):
        site = Site(layer, network, predicted, prediction, raw=False)
        assert not any(rule.check(site) for rule in all_rules())
    assert time.perf_counter() - start < 0.5  # 0.05 where nothing else runs
