"""1×1 convolutions that rules put in."""

from __future__ import annotations

from torch import nn


def blank_pointwise(inputs: int, outputs: int, *, groups: int = 1) -> nn.Conv2d:
    """Return a 1×1 convolution with a bias, all zero; no random number is drawn."""
    conv = nn.Conv2d(inputs, outputs, 1, groups=groups, device="meta").to_empty(device="cpu")
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
