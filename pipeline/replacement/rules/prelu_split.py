"""PReLU with a slope a channel → the positive and the negative part side by side, learned (it starts out equal).

``PReLU(z) = ReLU(z) − a·ReLU(−z)``: the convolution before makes z and −z, as twice the channels, and the convolution
that alone reads the PReLU takes the slopes into its kernel. Zero padding stays zero, so that is exact at the border
too. It costs twice the weights and cycles of both, so `prelu_mean` is taken where it is near enough.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from pipeline.kpu.limits import MAX_CHANNELS
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.rules.clip_after_conv import clip_at_zero
from pipeline.replacement.sources import Source, source_of


def _match(site: Site) -> Match | Miss:
    prelu, parts = site.module(), _parts(site)
    assert isinstance(prelu, nn.PReLU)
    if prelu.num_parameters == 1:
        return Miss("nncase 1.9 folds a single slope into the KPU's activation table")
    if isinstance(parts, Miss):
        return parts
    source, reader, conv = parts
    if 2 * conv.in_channels > MAX_CHANNELS:
        return Miss(f"{2 * conv.in_channels:,} channels, more than a layer of the KPU has ({MAX_CHANNELS:,})")
    return Match((*source.nodes, site.node, reader), f"{conv.in_channels} slopes, folded into {reader.target}")


def _parts(site: Site) -> tuple[Source, fx.Node, nn.Conv2d] | Miss:
    """What makes the PReLU's map, and the convolution that alone reads it."""
    given, reader = site.before(), site.after()
    assert given is not None
    source = source_of(site, given)
    if source is None or source.conv.groups != 1:
        return Miss("not behind a dense convolution that it alone reads")
    conv = site.module(reader) if reader is not None else None
    if reader is None or not isinstance(conv, nn.Conv2d) or conv.groups != 1 or conv.padding_mode != "zeros":
        return Miss("not read by one dense convolution alone")
    return source, reader, conv


def _build(site: Site, match: Match) -> Built:
    parts = _parts(site)
    assert not isinstance(parts, Miss)
    source, _, conv = parts
    chain = nn.Sequential()
    chain.add_module("both", _blank(source.conv, source.conv.in_channels, 2 * source.conv.out_channels, bias=True))
    chain.add_module("act", clip_at_zero())
    chain.add_module("conv", _blank(conv, 2 * conv.in_channels, conv.out_channels, bias=conv.bias is not None))
    return Built(chain)


def _blank(like: nn.Conv2d, inputs: int, outputs: int, *, bias: bool) -> nn.Conv2d:
    """A dense convolution of the same form with other channels, all weights zero."""
    form = (like.kernel_size, like.stride, like.padding, like.dilation)
    with torch.random.fork_rng(devices=[]):
        made = nn.Conv2d(inputs, outputs, *form, bias=bias)  # type: ignore[arg-type]
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    parts, prelu = _parts(site), site.module()
    assert not isinstance(parts, Miss)
    assert isinstance(prelu, nn.PReLU)
    source, _, conv = parts
    folded = source.folded(site)
    both, _, last = chain
    assert isinstance(both, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    assert both.bias is not None
    assert folded.bias is not None
    with torch.no_grad():
        both.weight.copy_(torch.cat([folded.weight, -folded.weight]))
        both.bias.copy_(torch.cat([folded.bias, -folded.bias]))
        last.weight.copy_(torch.cat([conv.weight, -prelu.weight.view(1, -1, 1, 1) * conv.weight], 1))
        if last.bias is not None and conv.bias is not None:
            last.bias.copy_(conv.bias)


RULE = Rule(
    name="prelu-split",
    kind="learned",
    concerns=(nn.PReLU,),
    matches="PReLU with a slope a channel, with the dense convolutions before and behind it",
    becomes="both convolutions with twice the channels and a Clip at 0 between them",
    why="the KPU has one activation table a layer: nncase 1.9 runs the convolution twice and the products on the CPU",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
