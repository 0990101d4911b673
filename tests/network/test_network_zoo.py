from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import RecipeError
from pipeline.network import zoo
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.weights import parameters

WIDTHS = {"convnet5x5": 32, "resnet8": 16, "resnet20": 16, "mobilenet_v1": 8, "mobilenet_v2": 8}


def test_every_architecture_is_tested_here():
    assert zoo.names() == sorted(WIDTHS)


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("image", [(1, 32, 32), (3, 64, 96)])
def test_round_trip(name, image, run_onnx):
    torch.manual_seed(0)
    network = zoo.build(name, image, 10, WIDTHS[name])
    network.train()(torch.randn(4, *image))  # statistics other than the first
    network.eval()
    contract = InputContract(image, (0.5,) * image[0], (0.5,) * image[0])
    images = torch.randn(2, *image)
    model = to_onnx(network, contract)
    lifted = to_torch(model)
    expected = network(images).detach()
    assert expected.shape == (2, 10)
    np.testing.assert_allclose(run_onnx(model, images.numpy())[0], expected, atol=1e-4)
    np.testing.assert_allclose(lifted(images).detach(), expected, atol=1e-4)
    assert to_onnx(lifted, contract).SerializeToString() == model.SerializeToString()
    assert parameters(lifted) == parameters(network)


@pytest.mark.parametrize("name", WIDTHS)
def test_the_kpu_can_run_every_stride_and_size(name):
    """Stride 2 on even sizes only, padding k // 2, no map under 4×4 before the head."""
    network = zoo.build(name, (3, 32, 32), 10, WIDTHS[name]).eval()
    seen = []

    def look(layer, inputs, output):
        kernel = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
        stride = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * 2
        size = inputs[0].shape[2:]
        seen.append(layer)
        assert min(output.shape[2:]) >= 4
        assert stride == (1, 1) or all(length % 2 == 0 for length in size)
        if isinstance(layer, nn.Conv2d):
            assert layer.padding == tuple(length // 2 for length in kernel)

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            layer.register_forward_hook(look)
    network(torch.zeros(1, 3, 32, 32))
    assert seen


def test_the_default_has_the_kernels_it_is_named_after():
    network = zoo.build("convnet5x5", (1, 32, 32), 10, 32)
    kernels = [layer.kernel_size[0] for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [5, 5, 3, 3]
    assert parameters(network) == 69498


def test_published_sizes():
    assert parameters(zoo.build("resnet8", (3, 32, 32), 10, 16)) == 78042
    assert parameters(zoo.build("mobilenet_v1", (3, 224, 224), 1000, 32)) == 4231976


def test_same_seed_same_weights():
    weights = []
    for _ in range(2):
        torch.manual_seed(7)
        weights.append(zoo.build("convnet5x5", (1, 32, 32), 10, 8).state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_unknown_name_lists_the_known():
    with pytest.raises(RecipeError, match="convnet5x5, mobilenet_v1"):
        zoo.build("convnet", (1, 32, 32), 10, 32)


@pytest.mark.parametrize("name", WIDTHS)
def test_too_small_an_image(name):
    with pytest.raises(RecipeError, match="at least"):
        zoo.build(name, (1, 3, 3), 10, 8)
