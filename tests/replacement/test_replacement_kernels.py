"""What the rules about kernels that reach far leave to the CPU, and where they do not apply."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from sample_form import Sample, lifted
from torch import fx, nn

from pipeline.kpu.check import check_network
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.replacement.rewrite import rewrite
from pipeline.replacement.rule import Miss, Rule, Site
from pipeline.replacement.rules import all_rules

DEPTHWISE = ("large-depthwise", "large-depthwise-mixed")


def rule_named(name: str) -> Rule:
    return next(rule for rule in all_rules() if rule.name == name)


def around(layers: nn.Module, side: int) -> Sample:
    """Layers over eight channels, a convolution before and behind."""
    return lifted(
        OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), act=nn.ReLU6(), layers=layers, last=nn.Conv2d(8, 4, 3, 1, 1)),
        (3, side, side),
    )


def on_cpu(network: fx.GraphModule, contract: InputContract) -> list[str]:
    """What would do some work on the CPU, also where the convolution itself is the KPU's."""
    checked = check_network(to_onnx(network, contract))
    return [str(finding) for finding in checked.findings if finding.severity in ("cpu", "memory")] + [
        str(finding) for finding in checked.violations
    ]


@pytest.mark.parametrize("name", ["dilated-copies", "dilated-stack", *DEPTHWISE])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [2, 3, 4])
def test_a_dilated_kernel_is_all_on_the_kpu(name: str, stride: int, dilation: int) -> None:
    groups = 8 if name in DEPTHWISE else 1
    sample = around(nn.Conv2d(8, 8, 3, stride, dilation, dilation, groups), 16)
    assert on_cpu(sample.network, sample.contract)
    done = rewrite(sample.network, sample.contract, [rule_named(name)])
    assert not on_cpu(done.network, sample.contract)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_dilated_kernel_over_an_image_is_all_on_the_kpu(stride: int) -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, stride, 2, 2), act=nn.ReLU6(), last=nn.Conv2d(8, 4, 3, 1, 1))
    sample = lifted(layers, (3, 16, 16))
    assert on_cpu(sample.network, sample.contract)
    done = rewrite(sample.network, sample.contract, [rule_named("dilated-shift")])
    assert not on_cpu(done.network, sample.contract)


def answers(sample: Sample, name: str, kind: type[nn.Module]) -> list[Miss]:
    """What a rule misses among a network's layers of a kind that came after the stem."""
    rule = rule_named(name)
    sites = [Site(sample.network, node, sample.contract) for node in sample.network.graph.nodes]
    found = [rule.match(site) for site in sites if "layers" in str(site.node.target) and type(site.module()) is kind]
    return [answer for answer in found if isinstance(answer, Miss)]


@pytest.mark.parametrize("name", DEPTHWISE)
@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (7, 1), (9, 1), (11, 1), (5, 2), (7, 2), (9, 2), (11, 2)])
def test_a_large_depthwise_kernel_is_all_on_the_kpu(name: str, kernel: int, stride: int) -> None:
    sample = around(nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8), 16)
    assert check_network(to_onnx(sample.network, sample.contract)).violations
    done = rewrite(sample.network, sample.contract, [rule_named(name)])
    left = check_network(to_onnx(done.network, sample.contract)).violations
    assert not left, left


def test_tensorflows_padding_is_the_kpus_in_a_depthwise_stack() -> None:
    layers = nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(8, 8, 5, 2, groups=8))
    sample = around(layers, 16)
    done = rewrite(sample.network, sample.contract, [rule_named("large-depthwise")])
    left = check_network(to_onnx(done.network, sample.contract)).violations
    assert not left, left


@pytest.mark.parametrize(
    ("conv", "side"),
    [
        (nn.Conv2d(8, 8, 3, 1, 1, groups=8), 16),
        (nn.Conv2d(8, 8, 5, 1, 2), 16),
        (nn.Conv2d(8, 8, 5, 1, 2, groups=4), 16),
        (nn.Conv2d(8, 8, 5, 1, 1, groups=8), 16),
        (nn.Conv2d(8, 8, 5, 1, 12, groups=8, dilation=6), 16),
        (nn.Conv2d(8, 8, 5, 2, 2, groups=8), 15),
        (nn.Conv2d(8, 8, 5, 2, 2, groups=8), 6),
        (nn.Conv2d(8, 8, 13, 1, 6, groups=8), 16),
    ],
    ids=str,
)
def test_other_convolutions_are_no_large_depthwise_kernels(conv: nn.Conv2d, side: int) -> None:
    for name in DEPTHWISE:
        assert answers(around(conv, side), name, nn.Conv2d)
