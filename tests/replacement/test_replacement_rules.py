"""Where each rule applies, where not and why, and what else is particular to it."""

from __future__ import annotations

import time
from collections import OrderedDict

import numpy as np
import pytest
import torch
from replacement_samples import lifted, with_followers
from torch import Tensor, fx, nn
from torch.nn import functional

from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.zoo import build
from pipeline.replacement.factorise import factorise
from pipeline.replacement.plan import structure
from pipeline.replacement.rewrite import Rewritten, rewrite
from pipeline.replacement.rules import all_rules
from pipeline.replacement.rules.normalisation import Renormalise
from pipeline.training.accuracy import predict

RULES = {rule.name: rule for rule in all_rules()}


def ask(name: str, conv: nn.Conv2d, image: tuple[int, int, int], contract: InputContract | None = None) -> Rewritten:
    sample = lifted(with_followers(conv, nn.LeakyReLU(0.1)), image, contract=contract)
    return rewrite(sample.network, sample.contract, [RULES[name]])


def layers_of(network: fx.GraphModule) -> list[str]:
    return [str(node.target) for node in network.graph.nodes if node.op == "call_module"]


def convs_of(network: fx.GraphModule) -> list[nn.Conv2d]:
    layers = [network.get_submodule(name) for name in layers_of(network)]
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]


def kernels(network: fx.GraphModule) -> list[tuple[int, ...]]:
    return [tuple(conv.kernel_size) for conv in convs_of(network)]


@pytest.mark.parametrize(
    ("rule", "conv", "reason"),
    [
        ("pad-kernel", nn.Conv2d(2, 2, 3, 1, 1), "3×3 is a kernel of the KPU"),
        ("pad-kernel", nn.Conv2d(2, 2, 1), "1×1 is a kernel of the KPU"),
        ("pad-kernel", nn.Conv2d(2, 2, (1, 5), 1, (0, 2)), "does not fit into 3×3"),
        ("pad-kernel", nn.Conv2d(4, 4, (1, 3), 1, (0, 1), groups=2), "grouped, but not depthwise"),
        ("pad-kernel", nn.Conv2d(2, 2, (1, 3), (1, 2), (0, 1)), "stride 1×2"),
        ("pad-kernel", nn.Conv2d(2, 2, 2, 1, 1), "more outputs than a padding of 1"),
        ("shift-kernel", nn.Conv2d(5, 2, 5, 1, 2), "5 input channels, more than 4"),
        ("shift-kernel", nn.Conv2d(2, 2, 9, 1, 4), "neither 5×5 nor 7×7"),
        ("shift-kernel", nn.Conv2d(2, 2, 5, 1, 1), "padding is not 2 on every side"),
        ("large-kernel", nn.Conv2d(2, 2, 4, 1, 2), "it gives more outputs than a 3×3 of its stride does"),
        ("large-kernel", nn.Conv2d(2, 2, 5, 3, 2), "stride 3×3; a stack has 1, 2 or 4"),
        ("large-kernel", nn.Conv2d(2, 2, 5, 1, 4, dilation=2), "dilated"),
        ("large-kernel", nn.Conv2d(2, 2, 5, 1, 2, groups=2), "grouped or depthwise"),
        ("large-kernel", nn.Conv2d(2, 2, 13, 1, 6), "13×13 is larger than 11×11"),
        ("normalisation", nn.Conv2d(2, 2, 3, 1, 1), "one mean and std for all channels"),
    ],
)
def test_a_miss_carries_its_reason(rule: str, conv: nn.Conv2d, reason: str) -> None:
    done = ask(rule, conv, (conv.in_channels, 16, 16))
    (step,) = [step for step in done.steps if step.layer == "conv"]
    assert not step.taken
    assert reason in step.why
    assert step.becomes == ()


@pytest.mark.parametrize("size", [8, 9])
def test_a_2x2_of_stride_2_is_cropped_only_on_odd_sizes(size: int) -> None:
    done = ask("pad-kernel", nn.Conv2d(2, 3, 2, 2), (2, size, size))
    assert ("crop" in repr(done.network) or "Slice" in repr(done.network)) == (size % 2 == 1)


def test_a_crop_comes_after_batchnorm_and_activation() -> None:
    done = ask("pad-kernel", nn.Conv2d(2, 3, 2), (2, 6, 6))
    kinds = [type(done.network.get_submodule(name)).__name__ for name in layers_of(done.network)]
    assert kinds == ["Conv2d", "BatchNorm2d", "LeakyReLU", "Slice"]


def test_a_2x2_of_stride_2_is_left_where_its_size_is_not_known() -> None:
    sample = lifted(OrderedDict(conv=nn.Conv2d(2, 3, 2, 2)), (2, 8, 8))
    assert kernels(structure(sample.network)) == [(2, 2)]
    assert kernels(structure(sample.network, sample.contract)) == [(3, 3)]


def test_a_dilated_2x2_gets_a_hole() -> None:
    done = ask("pad-kernel", nn.Conv2d(1, 1, 2, 1, 1, dilation=2), (1, 6, 6))
    weight = done.network.get_submodule("conv").weight[0, 0]
    assert torch.equal(weight == 0, torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]]).bool())


def test_relu_becomes_clip_after_a_convolution_only() -> None:
    layers = with_followers(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU())
    layers.update(pool=nn.MaxPool2d(2), after_pool=nn.ReLU())
    sample = lifted(layers, (1, 8, 8))
    network = rewrite(sample.network, sample.contract, [RULES["clip-after-conv"]]).network
    written = to_onnx(network, sample.contract)
    assert [node.op_type for node in written.graph.node] == ["Conv", "BatchNormalization", "Clip", "MaxPool", "Relu"]
    clip = written.graph.node[2]
    (low,) = [tensor for tensor in written.graph.initializer if tensor.name == clip.input[1]]
    assert np.frombuffer(low.raw_data or np.float32(low.float_data[0]).tobytes(), np.float32) == 0
    assert len([name for name in clip.input if name]) == 2


@pytest.mark.parametrize(("kernel", "stride", "layers"), [(5, 1, 2), (7, 1, 3), (5, 2, 2), (7, 2, 2)])
def test_shifts_are_ones_and_the_first_has_the_stride(kernel: int, stride: int, layers: int) -> None:
    done = ask("shift-kernel", nn.Conv2d(1, 4, kernel, stride, kernel // 2), (1, 16, 16))
    convs = convs_of(done.network)
    assert len(convs) == layers
    assert [conv.stride[0] for conv in convs] == [stride] + [1] * (layers - 1)
    for conv in convs[:-1]:
        assert torch.equal(conv.weight.flatten(1).sum(1), torch.ones(conv.out_channels))
        assert ((conv.weight == 0) | (conv.weight == 1)).all()


@pytest.mark.parametrize(
    ("kernel", "stride", "layers"), [(5, 1, 2), (7, 1, 3), (9, 1, 4), (11, 1, 5), (5, 2, 2), (7, 2, 2), (11, 2, 3)]
)
def test_a_learned_stack_reaches_as_far_with_half_the_weights(kernel: int, stride: int, layers: int) -> None:
    sample = lifted(OrderedDict(conv=nn.Conv2d(32, 48, kernel, stride, kernel // 2)), (32, 16, 16))
    convs = convs_of(structure(sample.network, sample.contract))
    assert len(convs) == layers
    assert [conv.stride[0] for conv in convs] == [stride] + [1] * (layers - 1)
    assert 3 + 2 * stride * (layers - 1) >= kernel
    assert sum(conv.weight.numel() for conv in convs) == pytest.approx(kernel**2 * 32 * 48 / 2, rel=0.05)
    assert not any(conv.weight.any() for conv in convs)


def compose(first: Tensor, rest: Tensor, stride: int) -> Tensor:
    """The kernel of ``first`` then ``rest``, by running both on an impulse at every pixel of a large image."""
    side = 3 + stride * (rest.shape[-1] - 1)
    image = torch.zeros(first.shape[1], first.shape[1], side, side)
    kernel = torch.empty(rest.shape[0], first.shape[1], side, side)
    for row in range(side):
        for column in range(side):
            image.zero_()
            image[range(len(image)), range(len(image)), row, column] = 1
            moved = functional.conv2d(image, first, stride=stride)
            kernel[:, :, row, column] = functional.conv2d(moved, rest)[..., 0, 0].T
    return kernel


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (7, 2)])
def test_a_kernel_of_low_rank_is_factorised_closely(size: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(3, 6, 3, 3, generator=generator)
    rest = torch.randn(8, 3, size, size, generator=generator)
    kernel = compose(first, rest, stride)
    near = compose(*factorise(kernel, 6, stride, seed=0), stride)
    assert (near - kernel).square().sum() < 0.05 * kernel.square().sum()


@pytest.mark.parametrize("padding", [0, 1])
def test_per_channel_normalisation_is_folded_with_a_small_error_at_the_border(padding: int) -> None:
    contract = InputContract((3, 16, 16), (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    sample = lifted(OrderedDict(conv=nn.Conv2d(3, 8, 3, 1, padding)), contract.image, contract=contract)
    done = rewrite(sample.network, contract, [RULES["normalisation"]])
    assert done.contract is not None
    assert done.contract.is_uniform
    assert 0.4465 <= done.contract.mean[0] <= 0.4914
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), np.uint8)
    wanted, given = predict(sample.network, images, contract), predict(done.network, images, done.contract)
    error = np.abs(given - wanted) / wanted.std()
    assert error[:, :, 1:-1, 1:-1].max() < 1e-5
    assert error.max() < (0.1 if padding else 1e-5)
    assert (error.max() > 1e-3) == bool(padding)


def test_renormalise_turns_one_input_into_the_other() -> None:
    given = InputContract((2, 3, 3), (0.4, 0.4), (0.3, 0.3))
    wanted = InputContract((2, 3, 3), (0.5, 0.2), (0.1, 0.7))
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 3), np.uint8)
    turned = Renormalise(given, wanted)(torch.from_numpy(given.normalise(images)))
    np.testing.assert_allclose(turned.numpy(), wanted.normalise(images), atol=1e-5)


def test_a_layer_called_twice_is_replaced_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (1, 3), 1, (0, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    network = fx.symbolic_trace(Twice())
    done = structure(network)
    image = torch.randn(1, 1, 5, 5)
    assert len(layers_of(done)) == 2
    torch.testing.assert_close(done(image), network(image))


def test_rules_in_sequence_on_one_layer_keep_its_name() -> None:
    contract = InputContract((2, 12, 12), (0.4, 0.5), (0.2, 0.3))
    sample = lifted(with_followers(nn.Conv2d(2, 5, 5, 1, 2), nn.ReLU()), contract.image, contract=contract)
    done = rewrite(sample.network, contract, all_rules())
    assert layers_of(done.network) == ["conv_shift1", "conv", "bn", "act"]
    assert [step.rule.name for step in done.steps if step.taken and step.layer == "conv"] == [
        "normalisation",
        "shift-kernel",
    ]


def test_the_structure_of_the_default_network_is_planned_fast_and_runs_on_the_kpu() -> None:
    contract = InputContract((1, 32, 32), (0.286,), (0.353,))
    network = lifted(OrderedDict(build("convnet5x5", contract.image, 10, 32).named_children()), contract.image).network
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        planned = structure(network, contract)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
    assert set(kernels(planned)) == {(3, 3)}
    assert to_onnx(planned, contract).graph.output[0].type.tensor_type.shape.dim[1].dim_value == 10
