"""A dilated 3×3 → copies that depthwise 3×3 move to its taps, and a 1×1: equal from its start, and weighed as learned.

How is in ``dilated``. It loses nothing but takes over twice the bytes of the kernel, so it is a rival of
``dilated_stack``: taken where the stack costs too much accuracy, and refined with the whole network.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.dilated import (
    COPIES,
    LARGEST,
    WHY,
    blank_copies,
    no_room_for_copies,
    read_dilated,
    set_copies,
)
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.rules.dilated_shift import MOST_CHANNELS


def _match(site: Site) -> Match | Miss:
    conv = read_dilated(site)
    if isinstance(conv, Miss):
        return conv
    reason = no_room_for_copies(site, conv)
    return Miss(reason) if reason else Match((site.node,), f"{describe(conv)}, dilation {pair(conv.dilation)[0]}")


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    return Built(blank_copies(conv))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    set_copies(conv, chain)


RULE = Rule(
    name="dilated-copies",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"dense 3×3 of dilation 2 to {LARGEST}, stride 1 or 2, over more than {MOST_CHANNELS} channels",
    becomes=f"a 1×1 that copies each channel {COPIES} times, depthwise 3×3 that move the copies, a 1×1 of the kernel",
    why=WHY,
    source="eliminate_dilated_conv2d.cpp:155 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
