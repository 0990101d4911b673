"""The zeros around what a convolution reads: its own, and those of a padding layer before it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from pipeline.replacement.convolution import pair
from pipeline.replacement.rule import Miss, Site


@dataclass(frozen=True)
class Zeros:
    """Zeros around a map, rows and columns each.

    Attributes:
        layer: the layer of zeros that only the convolution reads (how sides that differ are lifted), if there is one.
        begin: above and left.
        end: below and right.
    """

    layer: fx.Node | None
    begin: tuple[int, int]
    end: tuple[int, int]

    def reads(self, conv: fx.Node) -> fx.Node:
        """Return what is padded."""
        return (self.layer or conv).all_input_nodes[0]


def zeros_around(site: Site) -> Zeros | Miss:
    """Return the zeros around what the site's convolution reads."""
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    if conv.padding_mode != "zeros":
        return Miss(f"padded by {conv.padding_mode}, not by zeros")
    own = _own(conv)
    if isinstance(own, Miss):
        return own
    before = site.before()
    if before is None:
        return Miss("it reads several values")
    pad = site.module(before)
    if type(pad) is not nn.ZeroPad2d or len(before.users) > 1:
        return Zeros(None, own, own)
    left, right, top, bottom = (int(side) for side in pad.padding)
    return Zeros(before, (own[0] + top, own[1] + left), (own[0] + bottom, own[1] + right))


def _own(conv: nn.Conv2d) -> tuple[int, int] | Miss:
    if not isinstance(conv.padding, str):
        return pair(conv.padding)
    if conv.padding == "valid":
        return 0, 0
    reach = [d * (k - 1) for d, k in zip(pair(conv.dilation), pair(conv.kernel_size), strict=True)]
    if any(taps % 2 for taps in reach):
        return Miss("its padding is more on one side than on the other, which ONNX does not say of a convolution")
    return reach[0] // 2, reach[1] // 2
