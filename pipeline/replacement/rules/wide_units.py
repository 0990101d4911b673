"""More than 1024 units between two fully connected layers → those that matter, learned.

As ``wide_map`` does for channels: which units stay, and what the second layer makes of them then, is known in closed
form (``channels``). The first layer keeps its weights for them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.kpu import limits
from pipeline.replacement.channels import keep_channels
from pipeline.replacement.regression import as_maps
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.sources import run

_ACTIVATIONS = (nn.ReLU, nn.Hardtanh, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.ELU)
"""Of a number at a time, and without weights."""
_MOST_UNITS = 2048
"""To choose among: the time grows with the cube of their number, half a minute for as many."""


@dataclass(frozen=True)
class _Hidden:
    """The layers around too many units.

    Attributes:
        nodes: from the layer that makes them to the one that reads them.
        first: the former.
        last: the latter.
    """

    nodes: tuple[fx.Node, ...]
    first: nn.Linear
    last: nn.Linear


def _read(site: Site) -> _Hidden | Miss:
    first = site.module()
    assert isinstance(first, nn.Linear)
    if first.out_features <= limits.MAX_CHANNELS:
        return Miss(f"not over {limits.MAX_CHANNELS:,} outputs")
    shape = site.shape(site.node)
    if shape is not None and len(shape) != 1:
        return Miss("not of one vector an image")
    units = f"its {first.out_features:,} outputs"
    if first.out_features > _MOST_UNITS:
        return Miss(f"{units} are too many to choose {limits.MAX_CHANNELS:,} of, more than {_MOST_UNITS:,}")
    nodes = [site.node]
    while True:
        after = site.after(nodes[-1])
        module = None if after is None else site.module(after)
        if after is None or module is None:
            return Miss(f"{units} are read by several layers, or are the network's")
        nodes.append(after)
        if isinstance(module, nn.Linear):
            return _Hidden(tuple(nodes), first, module)
        if not isinstance(module, _ACTIVATIONS):
            return Miss(f"{units} are read by {after.target}, a {type(module).__name__}")


def _match(site: Site) -> Match | Miss:
    hidden = _read(site)
    if isinstance(hidden, Miss):
        return hidden
    units = f"{hidden.first.in_features:,}→{hidden.first.out_features:,}→{hidden.last.out_features:,}"
    return Match(hidden.nodes, f"{units}, of which {limits.MAX_CHANNELS:,} units stay")


def _build(site: Site, match: Match) -> Built:
    hidden = _read(site)
    assert isinstance(hidden, _Hidden)
    chain = nn.Sequential()
    chain.add_module("fewer", _blank(hidden.first.in_features, limits.MAX_CHANNELS))
    for number, module in enumerate(_between(site, hidden), 1):
        chain.add_module(f"kept{number}", copy.deepcopy(module))
    chain.add_module("last", _blank(limits.MAX_CHANNELS, hidden.last.out_features))
    return Built(chain)


def _between(site: Site, hidden: _Hidden) -> list[nn.Module]:
    return [module for node in hidden.nodes[1:-1] if (module := site.module(node)) is not None]


def _blank(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer with a bias, all zero."""
    made = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    hidden = _read(site)
    assert isinstance(hidden, _Hidden)
    units = run(nn.Sequential(hidden.first, *_between(site, hidden)), inputs)
    kept = keep_channels(as_maps(hidden.last.weight), as_maps(units), as_maps(outputs), limits.MAX_CHANNELS)
    fewer, last = chain[0], chain[-1]
    assert isinstance(fewer, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        fewer.weight.copy_(hidden.first.weight[kept.channels])
        if hidden.first.bias is not None:
            fewer.bias.copy_(hidden.first.bias[kept.channels])
        last.weight.copy_(kept.weight[..., 0, 0])
        last.bias.copy_((outputs - run(chain, inputs)).mean(0))


RULE = Rule(
    name="wide-units",
    kind="learned",
    concerns=(nn.Linear,),
    matches=f"more than {limits.MAX_CHANNELS:,} units between two fully connected layers",
    becomes="those of them that matter most, the second layer solved for them",
    why=f"the KPU counts channels in 10 bits: nncase 1.9 runs products of more than {limits.MAX_CHANNELS:,} outputs in "
    "float32 on the CPU",
    source="kpu_utils.h:26 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
