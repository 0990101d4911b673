"""What must hold of all findings together: nothing of the CPU and no refusal without one, none on plain networks."""

from __future__ import annotations

import random
from collections import defaultdict

import onnx
import pytest
from rules_networks import PAIRS, Graph, Pair

from pipeline.kpu import limits
from pipeline.kpu.check import check_network
from pipeline.kpu.rules import Finding

NETWORKS = [
    pytest.param(pair, graph(), id=f"{rule}-{index}")
    for rule, pair in PAIRS.items()
    for index, graph in enumerate((*pair.breaks, *pair.holds))
]


@pytest.mark.parametrize(("pair", "graph"), NETWORKS)
def test_nothing_of_the_cpu_and_no_refusal_is_without_a_finding(pair: Pair, graph: Graph) -> None:
    for raw in (True, False):
        complete(graph.model(), raw=raw, version=pair.version)


def complete(model: onnx.ModelProto, *, raw: bool, version: int = 5) -> None:
    checked = check_network(model, version, raw=raw)
    by_layer: dict[str, list[Finding]] = defaultdict(list)
    for finding in checked.findings:
        by_layer[finding.layer].append(finding)
    for layer in checked.prediction.layers:
        assert layer.unit != "cpu" or layer.name in checked.head or by_layer[layer.name], layer
    for refusal in checked.prediction.refusals:
        assert any(each.severity == "does-not-compile" for each in by_layer[refusal.layer]), refusal
    overflows = checked.prediction.kpu_bytes > limits.KPU_MEMORY_BYTES
    assert overflows == any(finding.rule == "kpu-memory" for finding in checked.findings)


def plain(seed: int) -> Graph:
    """Convolutions of the KPU, clamps and fused pools, at random."""
    chosen = random.Random(seed)
    side = chosen.choice([32, 48, 64])
    graph = Graph(3, side, side, seed=seed)
    for _ in range(chosen.randint(2, 7)):
        side = graph.shape[2]
        act = chosen.choice(["clip", "clip0", "leaky", ""])
        match chosen.randint(0, 4):
            case 0:
                graph.conv(chosen.randint(4, 40), 1, act=act)
            case 1:
                graph.conv(chosen.randint(4, 40), 3, act=act)
            case 2 if graph.shape[1] > 1:
                graph.depthwise(1, act).conv(chosen.randint(4, 40), 1, act=act)
            case 3 if side % 2 == 0 and side >= 8:
                graph.conv(chosen.randint(4, 40), chosen.choice([1, 3]), 2, act=act)
            case 4 if side % 2 == 0 and side >= 8:
                graph.conv(chosen.randint(4, 40), 3, act=act).pool(kind=chosen.choice(["MaxPool", "AveragePool"]))
    return graph


@pytest.mark.parametrize("seed", range(40))
def test_plain_networks_have_no_finding(seed: int) -> None:
    model = plain(seed).model()
    for raw in (True, False):
        assert not check_network(model, raw=raw).findings
    assert not check_network(plain(seed).conv(8, 1).global_mean().gemm(10).model(), 4).findings
