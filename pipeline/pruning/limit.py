"""Channels that the KPU cannot count: groups of more than 1024 pruned to 1024, the layers that read them solved anew.

For maps that a sum ties together, as in the last stage of a ResNet50, and for wide layers before a classifier: the
channels must go from every layer at once. A single pair of convolutions is left to ``replace``, which fits it better.

No labels are needed. A channel's worth is the share of what it gives the layers that read it, Σ ‖W_j‖²·E[x_j²]; those
left stand in for those gone: with x_gone ≈ μ + A·(x_kept − μ), the least-squares fit over images, W_kept + W_gone·A
takes the place of W.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.network.contract import InputContract
from pipeline.network.trace import trace
from pipeline.pruning.apply import remove_channels
from pipeline.pruning.groups import Group, dependency_graph, find_groups, pruning_group
from pipeline.training.modes import evaluating

_BATCH = 16
_RIDGE = 1e-3
"""Of the mean variance of a channel."""


@dataclass(frozen=True)
class Narrowed:
    """A network within the KPU's channels.

    Attributes:
        network: a copy; the network given itself where nothing was too wide.
        groups: what was pruned, as it was.
    """

    network: fx.GraphModule
    groups: tuple[Group, ...]


def within_channels(network: fx.GraphModule, contract: InputContract, images: NDArray[np.uint8]) -> Narrowed:
    """Return ``network`` with every group of at most 1024 channels; it is not changed.

    A group stays where nothing reads its channels one by one, as behind a Flatten of a larger map.

    Args:
        network: images to logits.
        contract: its input.
        images: uint8 N×C×H×W, to fit on.
    """
    if max((_outputs(module) for module in network.modules()), default=0) <= MAX_CHANNELS:
        return Narrowed(network, ())
    done = []
    for group in find_groups(network, contract.image, least=MAX_CHANNELS + 1):
        readers = _readers(network, contract, group)
        if readers and not _is_pair(network, group):
            network = _narrow(network, contract, images, group, readers)
            done.append(group)
    return Narrowed(network, tuple(done))


def _outputs(module: nn.Module) -> int:
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    return module.out_features if isinstance(module, nn.Linear) else 0


def _inputs(module: nn.Module) -> int:
    if isinstance(module, nn.Conv2d):
        return module.in_channels if module.groups == 1 else 0
    return module.in_features if isinstance(module, nn.Linear) else 0


def _readers(network: fx.GraphModule, contract: InputContract, group: Group) -> tuple[str, ...]:
    """The dense layers that read a group's channels, all of them and no others."""
    scratch = copy.deepcopy(network)
    graph = dependency_graph(scratch, contract.image)
    names = {module: name for name, module in scratch.named_modules()}
    everything = list(range(group.channels))
    return tuple(
        names[dependency.target.module]
        for dependency, channels in pruning_group(graph, scratch, group.name, everything)
        if graph.is_in_channel_pruning_fn(dependency.handler)
        and _inputs(dependency.target.module) == group.channels
        and list(channels) == everything
    )


def _is_pair(network: fx.GraphModule, group: Group) -> bool:
    """Whether one convolution makes the channels, and one reads them."""
    dense = [network.get_submodule(name) for name in group.layers]
    dense = [module for module in dense if isinstance(module, nn.Linear) or _inputs(module)]
    return len(dense) == 2 and all(isinstance(module, nn.Conv2d) for module in dense)


def _narrow(
    network: fx.GraphModule, contract: InputContract, images: NDArray[np.uint8], group: Group, readers: tuple[str, ...]
) -> fx.GraphModule:
    moments = _moments(network, contract, images, group, readers)
    worth = torch.zeros(group.channels, dtype=torch.float64)
    for name in readers:
        weight = _weight(network, name)
        energy = weight.square().sum((0, 2)) * moments[name].square.diagonal() / moments[name].pixels
        worth += energy / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)
    kept = worth.argsort(descending=True, stable=True)[:MAX_CHANNELS].sort().values
    gone = torch.ones(group.channels, dtype=torch.bool).index_fill(0, kept, value=False).nonzero().flatten()
    pruned = trace(remove_channels(network, contract.image, {group.name: gone.tolist()}))
    for name in readers:
        _solve(pruned.get_submodule(name), _weight(network, name), moments[name], kept, gone)
    return pruned


def _weight(network: fx.GraphModule, name: str) -> Tensor:
    """Outputs × inputs × taps, float64."""
    weight = network.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight.detach().double().flatten(2) if weight.ndim > 2 else weight.detach().double()[..., None]


def _moments(
    network: fx.GraphModule, contract: InputContract, images: NDArray[np.uint8], group: Group, readers: tuple[str, ...]
) -> dict[str, _Moments]:
    found = {name: _Moments(group.channels) for name in readers}
    hooks = [network.get_submodule(name).register_forward_pre_hook(found[name].add) for name in readers]
    try:
        with evaluating(network), torch.no_grad():
            for start in range(0, len(images), _BATCH):
                network(torch.from_numpy(contract.normalise(images[start : start + _BATCH])))
    finally:
        for hook in hooks:
            hook.remove()
    return found


class _Moments:
    """First and second moments of what a layer reads, over images and pixels."""

    def __init__(self, channels: int) -> None:
        self.pixels = 0
        self.total = torch.zeros(channels, dtype=torch.float64)
        self.square = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, _layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Count one batch; a forward pre-hook."""
        pixels = given[0].detach().transpose(0, 1).flatten(1).double()
        self.pixels += pixels.shape[1]
        self.total += pixels.sum(1)
        self.square += pixels @ pixels.T


def _solve(layer: nn.Module, weight: Tensor, moments: _Moments, kept: Tensor, gone: Tensor) -> None:
    """Have the channels kept stand in for those gone, in the pruned ``layer`` that had ``weight``."""
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    mean = moments.total / moments.pixels
    covariance = moments.square / moments.pixels - torch.outer(mean, mean)
    own = covariance[kept][:, kept]
    own.diagonal().add_(_RIDGE * own.diagonal().mean() + torch.finfo(own.dtype).tiny)
    stand_in = torch.linalg.solve(own, covariance[kept][:, gone])  # kept × gone
    solved = weight[:, kept] + torch.einsum("ogt,kg->okt", weight[:, gone], stand_in)
    offset = (weight[:, gone].sum(2) @ (mean[gone] - stand_in.T @ mean[kept])).to(layer.weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(solved.view_as(layer.weight))
        if layer.bias is None:
            layer.bias = nn.Parameter(offset)
        else:
            layer.bias.add_(offset)
