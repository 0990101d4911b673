"""A map of more than 1024 channels between two convolutions → the channels that matter, learned.

Between the two stand only layers that treat every channel by itself (BatchNorm, an activation, depthwise, a 2×2
pool), so leaving a channel out leaves it out of all of them. Which ones, and what the second convolution makes of the
others then, is known in closed form (``channels``). As many stay as the limits of both allow: their 1024 channels and
64 weight loads.

Measured on the zoo's `mobile`, 32→1088→24, unseen images: error at a random start 36, after 300 steps of regression
0.5; from the channels chosen and solved for 0.000002, which regression does not better; accuracy 91.38 % after 91.36 %.

Where others read the map too, or it is part of a sum, it stays: the channels could only go from all of them at once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.kpu import limits
from pipeline.replacement.channels import keep_channels
from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.loads import widest_input
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.sources import run

_ACTIVATIONS = (nn.ReLU, nn.Hardtanh, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.ELU)
"""Those that no learned rule replaces: it would find them within what this rule put in."""


@dataclass(frozen=True)
class _Wide:
    """The layers around a wide map.

    Attributes:
        nodes: from the convolution that makes it to the one that reads it.
        first: the former.
        last: the latter.
    """

    nodes: tuple[fx.Node, ...]
    first: nn.Conv2d
    last: nn.Conv2d

    @property
    def kept(self) -> int:
        """How many channels stay."""
        from_first = limits.widest_output(self.first.in_channels, pair(self.first.kernel_size)[0])
        return min(from_first, widest_input(self.last.out_channels, pair(self.last.kernel_size)[0]))


def _read(site: Site) -> _Wide | Miss:
    first = site.module()
    assert isinstance(first, nn.Conv2d)
    channels = first.out_channels
    if channels <= limits.MAX_CHANNELS:
        if first.in_channels > limits.MAX_CHANNELS:
            return Miss(f"its {first.in_channels:,} inputs can only be fewer where they are made")
        return Miss(f"{channels:,} channels, within the KPU's {limits.MAX_CHANNELS:,}")
    map_ = f"its map of {channels:,} channels"
    if not _dense(first):
        return Miss(f"{map_} is not made by a dense 1×1 or 3×3")
    if first.in_channels > limits.MAX_CHANNELS:
        return Miss(f"{map_} is made of another of {first.in_channels:,}")
    nodes = [site.node]
    while True:
        after = site.after(nodes[-1])
        if after is None:
            return Miss(f"{map_} is read by several layers, or is an output")
        nodes.append(after)
        module = site.module(after)
        if module is None:
            return Miss(f"{map_} is an output")
        if isinstance(module, nn.Conv2d) and _dense(module):
            if module.out_channels > limits.MAX_CHANNELS:
                return Miss(f"{map_} is made into another of {module.out_channels:,}")
            return _Wide(tuple(nodes), first, module)
        if len(after.all_input_nodes) > 1:
            return Miss(f"{map_} is part of {after.target} ({type(module).__name__}), so is what it is joined with")
        if not _by_channel(module):
            return Miss(f"{map_} is read by {after.target}, a {type(module).__name__}")


def _dense(conv: nn.Conv2d) -> bool:
    """Whether the KPU runs a convolution, but for its channels."""
    half = pair(conv.kernel_size)[0] // 2
    return (
        conv.groups == 1
        and pair(conv.kernel_size) in [(side, side) for side in limits.KERNELS]
        and pair(conv.dilation) == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and pair(conv.padding) == (half, half)
        and pair(conv.stride) in [(step, step) for step in limits.STRIDES]
    )


def _by_channel(module: nn.Module) -> bool:
    """Whether each channel of what a layer gives is made of that channel alone, and the layer is the KPU's."""
    if isinstance(module, nn.Conv2d):
        depthwise = module.groups == module.in_channels == module.out_channels
        return depthwise and pair(module.kernel_size) in [(side, side) for side in limits.KERNELS]
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        return module.kernel_size in (2, (2, 2)) and module.stride in (2, (2, 2)) and module.padding in (0, (0, 0))
    return isinstance(module, (nn.BatchNorm2d, *_ACTIVATIONS))


def _match(site: Site) -> Match | Miss:
    wide = _read(site)
    if isinstance(wide, Miss):
        return wide
    return Match(wide.nodes, f"{describe(wide.first)}, then {describe(wide.last)}; {wide.kept:,} channels stay")


def _build(site: Site, match: Match) -> Built:
    wide = _read(site)
    assert isinstance(wide, _Wide)
    some = torch.arange(wide.kept)
    chain = nn.Sequential()
    chain.add_module("narrow", _part(wide.first, some, outputs=True))
    for number, node in enumerate(wide.nodes[1:-1], 1):
        module = site.module(node)
        assert module is not None
        chain.add_module(f"kept{number}", _narrowed(module, some))
    chain.add_module("last", _part(wide.last, some, outputs=False))
    for layer in (chain[0], chain[-1]):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    return Built(chain)


def _part(conv: nn.Conv2d, channels: Tensor, *, outputs: bool) -> nn.Conv2d:
    """Return a dense convolution with some of its outputs, or of its inputs and a bias."""
    made = nn.Conv2d(
        conv.in_channels if outputs else len(channels),
        len(channels) if outputs else conv.out_channels,
        pair(conv.kernel_size),
        pair(conv.stride),
        conv.padding if isinstance(conv.padding, str) else pair(conv.padding),
        bias=conv.bias is not None or not outputs,
        device="meta",
    ).to_empty(device="cpu")
    with torch.no_grad():
        made.weight.copy_(conv.weight[channels] if outputs else conv.weight[:, channels])
        if made.bias is not None:
            bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
            made.bias.copy_(bias[channels] if outputs else bias)
    return made


def _narrowed(module: nn.Module, channels: Tensor) -> nn.Module:
    """Return a layer that treats every channel by itself, for some of them."""
    made = copy.deepcopy(module)
    if isinstance(made, nn.BatchNorm2d):
        made.num_features = len(channels)
    elif isinstance(made, nn.Conv2d):
        made.in_channels = made.out_channels = made.groups = len(channels)
    for name, value in module.named_parameters(recurse=False):
        setattr(made, name, nn.Parameter(value.detach()[channels].clone()))
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.ndim:
            setattr(made, name, buffer[channels].clone())
    return made


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    wide = _read(site)
    assert isinstance(wide, _Wide)
    between = [site.module(node) for node in wide.nodes[1:-1]]
    before = nn.Sequential(wide.first, *[module for module in between if module is not None])
    kept = keep_channels(wide.last.weight, run(before, inputs), outputs, wide.kept)
    layers: list[nn.Module] = [_part(wide.first, kept.channels, outputs=True)]
    layers += [_narrowed(module, kept.channels) for module in between if module is not None]
    for made, fitted in zip(chain, layers, strict=False):
        made.load_state_dict(fitted.state_dict())
    last = chain[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.copy_(kept.weight)
        last.bias.zero_()
        last.bias.copy_((outputs - run(chain, inputs)).mean((0, 2, 3)))


RULE = Rule(
    name="wide-map",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"1×1 or 3×3 to more than {limits.MAX_CHANNELS:,} channels, and the one behind that alone reads them",
    becomes="the same over the channels that matter most, the second convolution solved for them",
    why=f"the KPU counts channels in 10 bits: nncase 1.9 runs convolutions of more than {limits.MAX_CHANNELS:,} in "
    "float32 on the CPU",
    source="kpu_utils.h:21,26 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
