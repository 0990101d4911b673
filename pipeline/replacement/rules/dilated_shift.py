"""A dilated 3×3 over few channels (an image) → copies that depthwise 3×3 move to its taps, and a 1×1, exactly.

How is in ``dilated``. Over more channels the copies are no longer next to nothing, and ``dilated_copies`` weighs the
same form against a stack.
"""

from __future__ import annotations

from torch import nn

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

MOST_CHANNELS = 4


def _match(site: Site) -> Match | Miss:
    conv = read_dilated(site)
    if isinstance(conv, Miss):
        return conv
    if conv.in_channels > MOST_CHANNELS:
        return Miss(
            f"{conv.in_channels} input channels, more than {MOST_CHANNELS}: their copies are weighed by accuracy"
        )
    reason = no_room_for_copies(site, conv)
    return Miss(reason) if reason else Match((site.node,), f"{describe(conv)}, dilation {pair(conv.dilation)[0]}")


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    chain = blank_copies(conv)
    set_copies(conv, chain)
    return Built(chain)


RULE = Rule(
    name="dilated-shift",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches=f"dense 3×3 of dilation 2 to {LARGEST}, stride 1 or 2, over at most {MOST_CHANNELS} channels",
    becomes=f"a 1×1 that copies each channel {COPIES} times, depthwise 3×3 that move the copies, a 1×1 of the kernel",
    why=WHY,
    source="eliminate_dilated_conv2d.cpp:155 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
