from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.network.contract import InputContract
from pipeline.network.fold import fold_batchnorm
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.network.weights import parameters

IMAGE = (4, 8, 8)


def network_of(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(*layers)
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                nn.init.uniform_(layer.weight, -1, 1)
                nn.init.uniform_(layer.bias, -1, 1)
    return network.eval()


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU()],
        [nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, eps=1e-3)],
        [nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4, affine=False)],
        [nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), nn.BatchNorm2d(6)],
        [nn.Flatten(), nn.Linear(256, 5), nn.BatchNorm1d(5)],
        [nn.Flatten(), nn.Linear(256, 5, bias=False), nn.BatchNorm1d(5)],
    ],
)
def test_folding_is_exact_and_copies(layers):
    network = trace(network_of(*layers))
    images = torch.randn(5, *IMAGE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batchnorm(network)
    assert not any(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in folded.modules())
    torch.testing.assert_close(folded(images), network(images), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "BatchNormalization" not in {
        n.op_type for n in to_onnx(folded, InputContract(IMAGE, (0,) * 4, (1,) * 4)).graph.node
    }


def test_a_norm_after_something_else_stays():
    network = trace(network_of(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)))
    folded = fold_batchnorm(network)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    images = torch.randn(2, *IMAGE)
    torch.testing.assert_close(folded(images), network(images))


def test_a_convolution_that_is_used_elsewhere_keeps_its_weights():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(self.conv(y)), self.bn(y)

    network = trace(network_of(Shared()))
    images = torch.randn(2, *IMAGE)
    for got, wanted in zip(fold_batchnorm(network)(images), network(images), strict=True):
        torch.testing.assert_close(got, wanted)


def test_folded_weights_train():
    folded = fold_batchnorm(trace(network_of(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)))).train()
    folded(torch.randn(2, *IMAGE)).sum().backward()
    assert all(parameter.grad is not None for parameter in folded.parameters())


def test_parameters_counts_weights_not_statistics():
    assert parameters(network_of(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6))) == 4 * 6 * 9 + 12
