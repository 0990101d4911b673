"""What the rules about kernels that reach far leave to the CPU, and where they do not apply."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pytest
from sample_form import Sample, lifted
from torch import fx, nn

from pipeline.kpu.check import check_network
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.replacement.regression import record
from pipeline.replacement.rewrite import Candidate, Choice, rewrite
from pipeline.replacement.rule import Miss, Rule, Site
from pipeline.replacement.rules import all_rules
from pipeline.training.accuracy import predict

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


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("inputs", [6, 8, 12])
def test_a_transposed_convolution_equals_its_shifted_copies(kernel: int, inputs: int) -> None:
    up = nn.ConvTranspose2d(inputs, 8, kernel, 2, (kernel - 1) // 2, kernel % 2)
    sample = lifted(OrderedDict(stem=nn.Conv2d(3, inputs, 3, 1, 1), act=nn.ReLU6(), up=up), (3, 7, 5))
    equals_from_its_start("transposed-copies", sample, "up")


@pytest.mark.parametrize("dilation", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_dilated_convolution_equals_its_moved_copies(dilation: int, stride: int) -> None:
    dilated = nn.Conv2d(6, 8, 3, stride, dilation, dilation)
    sample = lifted(OrderedDict(stem=nn.Conv2d(3, 6, 3, 1, 1), act=nn.ReLU6(), dilated=dilated), (3, 12, 10))
    equals_from_its_start("dilated-copies", sample, "dilated")


def equals_from_its_start(name: str, sample: Sample, layer: str) -> None:
    """Check that a learned rule's chain, once initialised, computes what the layer behind ``act`` does."""
    images = np.random.default_rng(0).integers(0, 256, (4, *sample.contract.image), np.uint8)

    def started(candidates: Sequence[Candidate]) -> Choice:
        (candidate,) = candidates
        values = record(sample.network, ("act", layer), images, sample.contract)
        assert candidate.rule.initialise is not None
        chain = candidate.built.chain
        candidate.rule.initialise(candidate.site, candidate.match, chain, values["act"], values[layer], 0)
        return Choice(candidate)

    done = rewrite(sample.network, sample.contract, [rule_named(name)], started)
    wanted = predict(sample.network, images, sample.contract)
    assert predict(done.network, images, sample.contract) == pytest.approx(wanted, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "up"),
    [
        ("transposed-copies", nn.ConvTranspose2d(8, 8, 4, 2, 1)),
        ("transposed-copies", nn.ConvTranspose2d(8, 8, 5, 2, 2, 1)),
        ("transposed-stack", nn.ConvTranspose2d(8, 8, 4, 2, 1)),
        ("transposed-stack", nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)),
        ("transposed-kernel", nn.ConvTranspose2d(8, 8, 2, 2, groups=8)),
        ("transposed-kernel", nn.ConvTranspose2d(8, 8, 2, 2, groups=4)),
        ("transposed-kernel", nn.ConvTranspose2d(8, 8, 3, 2, 1, 1, groups=2)),
    ],
    ids=str,
)
def test_a_transposed_convolution_compiles_and_the_kpu_convolves(name: str, up: nn.Module) -> None:
    sample = around(up, 8)
    assert check_network(to_onnx(sample.network, sample.contract)).violations
    done = rewrite(sample.network, sample.contract, [rule_named(name)])
    checked = check_network(to_onnx(done.network, sample.contract))
    assert not checked.violations, checked.violations
    assert {layer.unit for layer in checked.prediction.layers} == {"kpu"}


@pytest.mark.parametrize(
    "up",
    [
        nn.ConvTranspose2d(8, 8, 3, 2, 1, 1),
        nn.ConvTranspose2d(8, 8, 4, 4),
        nn.ConvTranspose2d(8, 8, 4, 2),
        nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(8, 8, 6, 2, 2),
    ],
    ids=str,
)
def test_other_transposed_convolutions_are_left_alone(up: nn.ConvTranspose2d) -> None:
    for name in ("transposed-copies", "transposed-stack", "transposed-kernel"):
        assert answers(around(up, 8), name, nn.ConvTranspose2d)


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
