"""Constants a channel, multipliers, strides, paddings, pools' activations: what they become."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from replacement_samples import Sample, lifted
from samples_forms import Constant
from samples_structure import Parallel
from torch import nn

from pipeline.kpu.check import check_network
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Add
from pipeline.replacement.rewrite import Rewritten, rewrite
from pipeline.replacement.rules import all_rules

RULES = {rule.name: rule for rule in all_rules()}


def applied(sample: Sample, *names: str) -> Rewritten:
    return rewrite(sample.network, sample.contract, [RULES[name] for name in names])


def findings(done: Sample | Rewritten) -> set[str]:
    assert done.contract is not None
    checked = check_network(to_onnx(done.network, done.contract))
    return {finding.rule for finding in checked.findings} - {"tiny-weights"}


def kinds(done: Rewritten) -> list[str]:
    called = [node for node in done.network.graph.nodes if node.op == "call_module"]
    return [type(done.network.get_submodule(str(node.target))).__name__ for node in called]


def convs(done: Rewritten) -> list[nn.Conv2d]:
    return [module for module in done.network.modules() if isinstance(module, nn.Conv2d)]


def why(done: Rewritten, layer: str) -> str:
    return next(step.why for step in done.steps if step.layer == layer)


def pre_activation(*behind: tuple[str, nn.Module]) -> Sample:
    """As in DenseNet: pool → BatchNorm → Scale → Relu → 3×3."""
    layers = OrderedDict(
        stem=nn.Conv2d(3, 8, 3, 1, 1),
        act=nn.Hardtanh(0.0, 6.0),
        average=nn.AvgPool2d(3, 1, 1),
        norm=nn.BatchNorm2d(8),
        scale=Constant("mul", 8, 1),
        shift=Constant("add", 8, 2),
    )
    layers.update(behind)
    return lifted(layers, (3, 16, 16))


def test_a_batchnorm_and_its_scale_before_an_activation_become_one_depthwise_1x1() -> None:
    sample = pre_activation(("relu", nn.ReLU()), ("conv", nn.Conv2d(8, 4, 3, 1, 1)))
    assert {"batch-norm", "constant-arithmetic"} <= findings(sample)
    done = applied(sample, "affine-alone")
    assert not {"batch-norm", "constant-arithmetic"} & findings(done)
    assert kinds(done) == ["Conv2d", "ReLU6", "AvgPool2d", "Conv2d", "ReLU", "Conv2d"]
    assert convs(done)[1].groups == 8


def test_it_is_dense_where_a_pool_behind_it_is_to_be_fused() -> None:
    done = applied(pre_activation(("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2, 2))), "affine-alone")
    assert [conv.groups for conv in convs(done)] == [1, 1]
    assert convs(done)[1].kernel_size == (1, 1)


def test_a_1x1_behind_takes_it_for_nothing() -> None:
    done = applied(pre_activation(("conv", nn.Conv2d(8, 4, 1)), ("relu", nn.ReLU())), "affine-alone")
    assert kinds(done) == ["Conv2d", "ReLU6", "AvgPool2d", "Conv2d", "ReLU"]


def test_batchnorm_on_the_image_becomes_its_mean_and_std_and_nothing_is_left_of_it() -> None:
    layers = OrderedDict(norm=nn.BatchNorm2d(3), conv=nn.Conv2d(3, 4, 3, 1, 1), act=nn.ReLU())
    sample = lifted(layers, (3, 8, 8))
    assert "batch-norm" in findings(sample)
    done = applied(sample, "affine-alone", "normalisation")
    assert kinds(done) == ["Conv2d", "ReLU"]
    assert done.contract is not None
    assert done.contract.is_uniform
    assert not findings(done)


def test_scale_behind_batchnorm_goes_into_it_and_the_activation_follows() -> None:
    layers = OrderedDict(
        conv=nn.Conv2d(3, 4, 3, 1, 1), norm=nn.BatchNorm2d(4), mul=Constant("mul", 4, 0), add=Constant("add", 4, 0)
    )
    layers["act"] = nn.ReLU()
    done = applied(lifted(layers, (3, 8, 8)), "affine-fold", "clip-after-conv")
    assert kinds(done) == ["Conv2d", "BatchNorm2d", "Hardtanh"]


def test_a_map_that_the_kpu_cannot_hold_keeps_its_batchnorm_and_says_so() -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 2, 3, 1, 1), pool=nn.AvgPool2d(4), norm=nn.BatchNorm2d(2), act=nn.ReLU())
    assert "2×2×2" in why(applied(lifted(layers, (3, 8, 8)), "affine-alone"), "norm")


@pytest.mark.parametrize("op", ["mul", "add"])
def test_a_constant_that_varies_over_the_map_is_left_alone(op: str) -> None:
    constant = Constant(op, 1, 0)
    constant.value = torch.rand(1, 8, 8)
    done = applied(lifted(OrderedDict(conv=nn.Conv2d(1, 1, 3, 1, 1), constant=constant), (1, 8, 8)), "affine-fold")
    assert "not one factor and one summand" in done.steps[0].why


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.Sigmoid()])
@pytest.mark.parametrize("first", [None, nn.ReLU6()])
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, 2), nn.MaxPool2d(4, 4)])
def test_an_activation_behind_a_max_pool_goes_before_it(
    act: nn.Module, first: nn.Module | None, pool: nn.Module
) -> None:
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 3, 1, 1))
    layers.update({} if first is None else {"first": first})
    layers.update(pool=pool, act=act, tail=nn.Conv2d(4, 4, 3, 1, 1), last=nn.ReLU6())
    sample = lifted(layers, (3, 16, 16))
    assert {"pool-activation", "clip-place"} & findings(sample)
    done = applied(sample, "activation-before-pool")
    assert not findings(done) - {"coarse-activation", "clipped-minimum"}
    assert len(convs(done)) == 2


@pytest.mark.parametrize("act", [nn.ReLU6(), nn.Hardtanh(0.0, 1.0), nn.LeakyReLU(0.1)])
def test_an_activation_behind_a_mean_pool_gets_a_1x1_of_its_own(act: nn.Module) -> None:
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 3, 1, 1), first=nn.ReLU6(), pool=nn.AvgPool2d(2, 2), act=act)
    layers["tail"] = nn.Conv2d(4, 4, 3, 1, 1)
    sample = lifted(layers, (3, 16, 16))
    assert {"pool-activation", "clip-place"} & findings(sample)
    assert not findings(applied(sample, "activation-alone"))


def test_a_clip_on_the_image_gets_a_1x1_of_its_own() -> None:
    sample = lifted(OrderedDict(clip=nn.Hardtanh(-1.0, 1.0), conv=nn.Conv2d(3, 4, 3, 1, 1)), (3, 16, 16))
    assert "clip-place" in findings(sample)
    assert not findings(applied(sample, "activation-alone"))


def test_an_activation_that_falls_stays_behind_the_pool() -> None:
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 3, 1, 1), pool=nn.MaxPool2d(2, 2), act=nn.SiLU())
    sample = lifted(layers, (3, 16, 16))
    done = applied(sample, "activation-before-pool")
    assert not any(step.taken for step in done.steps)


@pytest.mark.parametrize(("channels", "layers"), [(3, 2), (64, 3)])
def test_a_multiplier_is_repeated_channels_or_dense_over_few(channels: int, layers: int) -> None:
    stem = nn.Conv2d(3, channels, 3, 1, 1)
    wide = nn.Conv2d(channels, 2 * channels, 3, 1, 1, groups=channels)
    sample = lifted(OrderedDict(stem=stem, first=nn.ReLU6(), wide=wide, act=nn.ReLU6()), (3, 16, 16))
    assert "depth-multiplier" in findings(sample)
    done = applied(sample, "depth-multiplier")
    assert not findings(done)
    assert len(convs(done)) == layers


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize(
    ("behind", "found"),
    [
        (OrderedDict(act=nn.LeakyReLU(0.1), mix=nn.Conv2d(32, 8, 1)), "activation-before-slice"),
        (OrderedDict(act=nn.ReLU6(), conv=nn.Conv2d(32, 8, 3, 1, 1)), "depthwise-stride"),
        (OrderedDict(act=nn.ReLU6(), mix=nn.Conv2d(32, 8, 1, 2)), "double-stride"),
    ],
)
def test_a_depthwise_stride_goes_where_the_kpu_has_one(channels: int, behind: dict[str, nn.Module], found: str) -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, channels, 3, 1, 1), first=nn.ReLU6())
    layers["depthwise"] = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels)
    layers["act"] = behind["act"]
    for name, conv in list(behind.items())[1:]:
        assert isinstance(conv, nn.Conv2d)
        layers[name] = nn.Conv2d(channels, 8, conv.kernel_size[0], conv.stride[0], int(conv.padding[0]))
    layers["last"] = nn.ReLU6()
    sample = lifted(layers, (3, 32, 32))
    assert found in findings(sample)
    assert not findings(applied(sample, "depthwise-stride"))


def test_a_depthwise_stride_before_a_1x1_is_nncases_own_matter() -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), first=nn.ReLU6(), dw=nn.Conv2d(8, 8, 3, 2, 1, groups=8))
    layers.update(act=nn.ReLU6(), mix=nn.Conv2d(8, 8, 1), last=nn.ReLU6())
    sample = lifted(layers, (3, 16, 16))
    assert not findings(sample)
    assert "nncase 1.9 moves its stride" in why(applied(sample, "depthwise-stride"), "dw")


@pytest.mark.parametrize("pads", [(0, 1, 0, 1), (0, 0, 0, 0), (1, 0, 0, 1)])
@pytest.mark.parametrize("channels", [3, 6, 24])
@pytest.mark.parametrize("kind", ["dense", "depthwise", "depthwise, 1x1"])
def test_a_stride_padded_behind_the_image_runs_on_the_kpu(pads: tuple[int, ...], channels: int, kind: str) -> None:
    groups = 1 if kind == "dense" else channels
    layers = OrderedDict(stem=nn.Conv2d(3, channels, 3, 1, 1), first=nn.ReLU6())
    if any(pads):
        layers["pad"] = nn.ZeroPad2d(pads)
    layers.update(conv=nn.Conv2d(channels, channels, 3, 2, groups=groups), act=nn.ReLU6())
    layers["tail"] = nn.Conv2d(channels, 4, 1) if kind.endswith("1x1") else nn.Conv2d(channels, 4, 3, 1, 1)
    layers["last"] = nn.ReLU6()
    sample = lifted(layers, (3, 16, 16))
    assert {"padding", "tf-same-padding"} & findings(sample)
    done = applied(sample, "padded-stride")
    assert not findings(done)
    if any(pads):  # else a crop of bytes is left to the CPU
        checked = check_network(to_onnx(done.network, sample.contract))
        assert not {op for layer in checked.prediction.layers for op in layer.cpu_ops} & {"pad", "slice", "quantize"}


def test_a_stride_in_a_residual_branch_is_left_to_the_rules_that_merge_it_whole() -> None:
    first = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
    block = Parallel(Add(), first, nn.Conv2d(8, 8, 1, 2))
    sample = lifted(OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), act=nn.ReLU(), block=block, last=nn.ReLU()), (3, 16, 16))
    done = applied(sample, "padded-stride")
    assert not any(step.taken for step in done.steps)


def test_columns_that_nncase_picks_itself_are_left_to_it() -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), act=nn.ReLU6(), pad=nn.ZeroPad2d((0, 1, 1, 0)))
    layers.update(conv=nn.Conv2d(8, 8, 3, 2), last=nn.ReLU6())
    sample = lifted(layers, (3, 16, 16))
    assert not findings(sample)
    assert "right-top pool" in why(applied(sample, "padded-stride"), "conv")


def test_one_number_for_all_channels_is_part_of_the_activation_before_it() -> None:
    layers = OrderedDict(stem=nn.Conv2d(3, 8, 3, 1, 1), act=nn.LeakyReLU(0.1), shift=Constant("add", 1, 0))
    layers.update(conv=nn.Conv2d(8, 4, 3, 1, 1), last=nn.ReLU6())
    done = applied(lifted(layers, (3, 16, 16)), "affine-alone")
    assert not any(step.taken for step in done.steps)
    assert "part of the KPU's activation" in done.steps[0].why


def test_a_relu_behind_a_pool_of_what_a_relu_gave_is_left_out() -> None:
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 3, 1, 1), act=nn.ReLU(), pool=nn.MaxPool2d(2, 2), again=nn.ReLU())
    done = applied(lifted(layers, (3, 16, 16)), "activation-alone", "activation-before-pool")
    assert kinds(done) == ["Conv2d", "ReLU", "MaxPool2d"]
