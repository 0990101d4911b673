"""What a sample for the rules is, and how one is made; the samples are in ``replacement_samples`` and ``samples_*``."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import fx, nn

from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx


@dataclass(frozen=True)
class Sample:
    """A lifted network, its input, and how many pixels of its output's border are not compared."""

    network: fx.GraphModule
    contract: InputContract
    margin: int = 0


def lifted(
    layers: OrderedDict[str, nn.Module],
    image: tuple[int, int, int],
    *,
    contract: InputContract | None = None,
    margin: int = 0,
    seed: int = 0,
) -> Sample:
    """Random weights and BatchNorm statistics, then through ONNX: the form in which stages see a network."""
    contract = contract or InputContract(image, (0.3,) * image[0], (0.25,) * image[0])
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(layers)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            with torch.no_grad():
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
                if isinstance(module, nn.BatchNorm2d) and name == "weight":
                    parameter.abs_().add_(0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return Sample(to_torch(to_onnx(network.eval(), contract)), contract, margin)


def with_followers(conv: nn.Conv2d, act: nn.Module, *, bn: bool = True) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    if bn:
        layers["bn"] = nn.BatchNorm2d(conv.out_channels)
    layers["act"] = act
    return layers
