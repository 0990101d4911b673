"""What the rules about pools leave to the CPU, by the prediction of nncase 1.9."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from sample_form import lifted
from torch import fx, nn

from pipeline.kpu.check import check_network
from pipeline.kpu.rules import Finding
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.replacement.rewrite import rewrite
from pipeline.replacement.rules import all_rules

EXACT = [rule for rule in all_rules() if rule.kind == "exact"]


@pytest.mark.parametrize(
    ("pool", "side"),
    [
        (nn.MaxPool2d(3, 1, 1), 16),
        (nn.MaxPool2d(3, 2, 1), 16),
        (nn.MaxPool2d(3, 2), 17),
        (nn.MaxPool2d(3, 2, ceil_mode=True), 16),
        (nn.MaxPool2d(5, 1, 2), 16),
        (nn.AvgPool2d(3, 1, 1), 16),
        (nn.AvgPool2d(3, 2, 1), 16),
    ],
    ids=str,
)
@pytest.mark.parametrize("stride", [1, 2])
def test_pools_are_all_on_the_kpu(pool: nn.Module, side: int, stride: int) -> None:
    layers = OrderedDict(
        stem=nn.Conv2d(3, 8, 3, stride, 1), act=nn.Hardtanh(0.0, 6.0), pool=pool, last=nn.Conv2d(8, 4, 3, 1, 1)
    )
    image = (3, side * stride, side * stride)
    sample = lifted(layers, image)
    assert check_network(to_onnx(sample.network, sample.contract)).violations
    done = rewrite(sample.network, sample.contract, EXACT)
    checked = check_network(to_onnx(done.network, sample.contract))
    assert not checked.violations, checked.violations


def test_a_transposed_2x2_compiles_and_has_no_convolution_on_the_cpu() -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), act=nn.Hardtanh(0.0, 6.0), up=nn.ConvTranspose2d(8, 8, 2, 2))
    sample = lifted(layers, (3, 8, 8))
    assert "does-not-compile" in {each.severity for each in _violations(sample.network, sample.contract)}
    done = rewrite(sample.network, sample.contract, EXACT)
    left = _violations(done.network, sample.contract)
    assert {each.severity for each in left} <= {"cpu"}, left


def _violations(network: fx.GraphModule, contract: InputContract) -> tuple[Finding, ...]:
    return check_network(to_onnx(network, contract)).violations
