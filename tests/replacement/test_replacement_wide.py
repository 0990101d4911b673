"""Layers too wide for the KPU: how they are taken apart, and that what is made of them is within its limits."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from replacement_samples import Sample, lifted
from torch import Tensor, nn

from pipeline.kpu import limits
from pipeline.kpu.check import check_network
from pipeline.network.lower import to_onnx
from pipeline.replacement.convolution import blank_conv
from pipeline.replacement.cost import chain_cost
from pipeline.replacement.loads import widest_input
from pipeline.replacement.low_rank import by_inputs, by_outputs
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rewrite import Rewritten, rewrite
from pipeline.replacement.rules import all_rules

RULES = {rule.name: rule for rule in all_rules()}


def applied(sample: Sample, *names: str) -> Rewritten:
    return rewrite(sample.network, sample.contract, [RULES[name] for name in names])


def violations(done: Rewritten) -> list[str]:
    assert done.contract is not None
    return [each.rule for each in check_network(to_onnx(done.network, done.contract)).violations]


def why(done: Rewritten, layer: str) -> str:
    return next(step.why for step in done.steps if step.layer == layer)


def convs(done: Rewritten) -> list[nn.Conv2d]:
    return [module for module in done.network.modules() if isinstance(module, nn.Conv2d)]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conv_of(weight: Tensor, stride: int = 1) -> nn.Conv2d:
    conv = blank_conv(weight.shape[1], weight.shape[0], bias=True, stride=stride)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(gaussian(len(conv.bias), seed=9))
    return conv


def pointwise(inputs: int, outputs: int, *, bias: bool) -> nn.Conv2d:
    conv = blank_pointwise(inputs, outputs)
    if not bias:
        conv.bias = None
    return conv


def error(given_: Tensor, wanted: Tensor) -> float:
    return float((given_ - wanted).square().mean() / wanted.var())


@torch.no_grad()
def with_few_outputs(conv: nn.Conv2d, rank: int, images: Tensor) -> tuple[Tensor, Tensor]:
    """What two convolutions give that ``by_outputs`` sets, and the map between them."""
    spatial = blank_conv(conv.in_channels, rank, bias=False, stride=conv.stride[0])
    mix = pointwise(rank, conv.out_channels, bias=True)
    by_outputs(conv, spatial, mix, conv(images))
    return mix(spatial(images)), spatial(images)


@torch.no_grad()
def with_few_inputs(conv: nn.Conv2d, rank: int, images: Tensor) -> tuple[Tensor, Tensor]:
    """What two convolutions give that ``by_inputs`` sets, and the map between them."""
    mix = pointwise(conv.in_channels, rank, bias=False)
    spatial = blank_conv(rank, conv.out_channels, bias=True, stride=conv.stride[0])
    by_inputs(conv, mix, spatial, images, conv(images))
    return spatial(mix(images)), mix(images)


@given(outputs=st.integers(1, limits.MAX_CHANNELS))
def test_the_widest_input_is_the_last_one_within_the_weight_loads(outputs: int) -> None:
    widest = widest_input(outputs, 3)
    assert limits.weight_loads(widest, outputs, 3) <= limits.MAX_WEIGHT_LOADS
    assert widest == limits.MAX_CHANNELS or limits.weight_loads(widest + 1, outputs, 3) > limits.MAX_WEIGHT_LOADS


@pytest.mark.parametrize("stride", [1, 2])
def test_outputs_that_lie_in_a_smaller_space_are_kept_by_that_many_channels(stride: int) -> None:
    conv = conv_of(torch.einsum("or,rchw->ochw", gaussian(8, 3), gaussian(3, 5, 3, 3, seed=1)), stride)
    images = gaussian(6, 5, 8, 8, seed=2)
    given_, between = with_few_outputs(conv, 3, images)
    assert torch.allclose(given_, conv(images), atol=1e-4)
    assert torch.allclose(between.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-2)


@pytest.mark.parametrize("stride", [1, 2])
def test_inputs_that_lie_in_a_smaller_space_are_kept_by_that_many_channels(stride: int) -> None:
    images = torch.einsum("cr,nrhw->nchw", gaussian(5, 3), gaussian(6, 3, 8, 8, seed=2))
    conv = conv_of(gaussian(8, 5, 3, 3, seed=1), stride)
    given_, between = with_few_inputs(conv, 3, images)
    assert torch.allclose(given_, conv(images), atol=1e-3)
    assert torch.allclose(between.square().mean((0, 2, 3)), torch.ones(3), atol=1e-2)


def of_rank(weight: Tensor, rank: int) -> Tensor:
    """The matrix of that rank that is nearest to ``weight``, its first axis against all others."""
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    return ((left[:, :rank] * values[:rank]) @ right[:rank]).view_as(weight)


def test_the_images_say_what_to_keep_not_the_kernel() -> None:
    """Two channels that are hardly ever bright have by far the largest weights: an SVD of the kernel keeps those."""
    dark = torch.tensor([1.0, 1.0, 1.0, 1e-3, 1e-3]).view(1, 5, 1, 1)
    images = dark * gaussian(8, 5, 10, 10, seed=2)
    weight = gaussian(40, 5, 3, 3, seed=1) * torch.where(dark < 1, 30.0, 1.0)
    conv = conv_of(weight)
    with torch.no_grad():
        wanted = conv(images)
        from_outputs, _ = with_few_outputs(conv, 26, images)
        from_inputs, _ = with_few_inputs(conv, 3, images)
        assert error(from_outputs, wanted) < 0.1 * error(conv_of(of_rank(weight, 26))(images), wanted)
        by_kernel = of_rank(weight.transpose(0, 1), 3).transpose(0, 1)
        assert error(from_inputs, wanted) < 0.1 * error(conv_of(by_kernel)(images), wanted)


@pytest.mark.parametrize("rule", ["many-loads", "many-loads-inputs"])
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(512, 512, 1), (1024, 200, 2), (384, 1024, 1)])
def test_a_3x3_of_too_many_weight_loads_becomes_two_layers_within_them_that_take_no_more_bytes(
    rule: str, inputs: int, outputs: int, stride: int
) -> None:
    sample = lifted(
        OrderedDict(stem=nn.Conv2d(1, inputs, 1), act=nn.ReLU(), large=nn.Conv2d(inputs, outputs, 3, stride, 1)),
        (1, 8, 8),
    )
    done = applied(sample, rule)
    (layer,) = [step.becomes for step in done.steps if step.taken]
    chain = nn.Sequential(*[done.network.get_submodule(name) for name in layer])
    for conv in chain:
        assert isinstance(conv, nn.Conv2d)
        loads = limits.weight_loads(conv.in_channels, conv.out_channels, conv.kernel_size[0])
        assert loads <= limits.MAX_WEIGHT_LOADS
    large = nn.Sequential(sample.network.get_submodule("large"))
    assert chain_cost(chain, (inputs, 8, 8)).kmodel_bytes <= chain_cost(large, (inputs, 8, 8)).kmodel_bytes
    assert "weight-loads" in violations(Rewritten(sample.network, sample.contract, ()))
    assert violations(done) == []


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(512, 384, 3, 1, 1), "64 weight loads, within the KPU's 64"),
        (nn.Conv2d(1024, 1024, 1), "35 weight loads, within the KPU's 64"),
        (nn.Conv2d(512, 512, 3), "padding is not 1 on every side"),
        (nn.Conv2d(512, 512, 5, 1, 2), "not a kernel of the KPU"),
        (nn.Conv2d(1040, 200, 3, 1, 1), "1,040 channels, over 1,024"),
    ],
)
def test_other_layers_stay_and_the_reason_is_said(layer: nn.Conv2d, reason: str) -> None:
    sample = lifted(OrderedDict(stem=nn.Conv2d(1, layer.in_channels, 1), act=nn.ReLU(), large=layer), (1, 8, 8))
    done = applied(sample, "many-loads", "many-loads-inputs")
    assert not any(step.taken for step in done.steps)
    assert why(done, "large") == reason
