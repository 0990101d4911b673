"""A transposed 4×4 or 5×5 of stride 2 → a transposed 3×3 to shifted copies and a 3×3: equal, weighed as learned.

Along one axis a tap that reaches ``y[2i + o]`` is made of a shift s and a tap o − s, both of a 3×3: s = 0 for o from
−1 to 1, s = ±1 for o = ±2. So a 4×4 takes two copies an axis, a 5×5 three. Either the first 3×3 makes shifted copies of
the inputs and the second has the weights, or, with fewer outputs, the first has the weights and the second shifts. What
a shift loses at the border would have reached outside.

It has up to 4.5 times the weights of a 4×4, so it is a rival of ``transposed_stack``: taken where the stack costs too
much accuracy, and refined with the whole network.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from pipeline.replacement.convolution import pair
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.transposed import SOURCE, WHY, blank_pair, is_depthwise, no_room, read_transposed


def _match(site: Site) -> Match | Miss:
    conv = read_transposed(site)
    if isinstance(conv, Miss):
        return conv
    if is_depthwise(conv):
        return Miss("depthwise: the sum of a channel's copies would need a dense layer")
    reason = no_room(site, _width(conv))
    taps = pair(conv.kernel_size)[0]
    return Miss(reason) if reason else Match((site.node,), f"{taps}×{taps}, {conv.in_channels}→{conv.out_channels}")


def _shift(offset: int) -> int:
    """The shift of a tap that reaches so far."""
    return (offset > 1) - (offset < -1)


def _offsets(conv: nn.ConvTranspose2d) -> list[int]:
    """Where each tap reaches, along an axis."""
    taps, padding = pair(conv.kernel_size)[0], conv.padding[0]
    return [tap - int(padding) for tap in range(taps)]


def _width(conv: nn.ConvTranspose2d) -> int:
    shifts = len({_shift(offset) for offset in _offsets(conv)})
    return shifts**2 * min(conv.in_channels, conv.out_channels)


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    return Built(blank_pair(conv, _width(conv)))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv = site.module()
    assert isinstance(conv, nn.ConvTranspose2d)
    up, rest = chain
    assert isinstance(up, nn.ConvTranspose2d)
    assert isinstance(rest, nn.Conv2d)
    assert rest.bias is not None
    offsets = _offsets(conv)
    shifts = sorted({_shift(offset) for offset in offsets})
    copies = list(product(shifts, shifts))
    copied = min(conv.in_channels, conv.out_channels)
    same = torch.eye(copied)
    with torch.no_grad():
        for (row, down), (column, right) in product(enumerate(offsets), enumerate(offsets)):
            move = _shift(down), _shift(right)
            tap = down - move[0], right - move[1]
            which = slice(copies.index(move) * copied, (copies.index(move) + 1) * copied)
            weight = conv.weight[:, :, row, column]
            # A transposed tap k reaches k − 1 pixels on, a plain one 1 − k.
            if conv.in_channels == copied:
                up.weight[:, which, 1 + move[0], 1 + move[1]] = same
                rest.weight[:, which, 1 - tap[0], 1 - tap[1]] = weight.T
            else:
                up.weight[:, which, 1 + tap[0], 1 + tap[1]] = weight
                rest.weight[:, which, 1 - move[0], 1 - move[1]] = same
        if conv.bias is not None:
            rest.bias.copy_(conv.bias)


RULE = Rule(
    name="transposed-copies",
    kind="learned",
    concerns=(nn.ConvTranspose2d,),
    matches="dense transposed 4×4 and 5×5 of stride 2 that double their map's sides",
    becomes="a transposed 3×3 of stride 2 to copies of its inputs or outputs for each shift, and a 3×3",
    why=WHY,
    source=SOURCE,
    match=_match,
    build=_build,
    initialise=_initialise,
)
