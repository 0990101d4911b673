"""Blocks of which the networks of `_zoo_networks` are made."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.network.modules import Reshape, Transpose

Pair = int | tuple[int, int]
Activation = Callable[[], nn.Module]


def conv(
    inside: int,
    outside: int,
    kernel: Pair,
    stride: Pair = 1,
    padding: Pair | None = None,
    *,
    groups: int = 1,
    dilation: int = 1,
    act: Activation | None = nn.ReLU,
) -> nn.Sequential:
    """Return convolution, BatchNorm and activation; ``padding`` None keeps the size where the kernel is odd."""
    if padding is None:
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (rows - 1) // 2, dilation * (columns - 1) // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inside, outside, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


def depthwise(channels: int, kernel: int, stride: int = 1, *, times: int = 1, act: Activation | None = nn.ReLU):
    """Return a depthwise `conv` that makes ``times`` outputs of each channel."""
    return conv(channels, channels * times, kernel, stride, groups=channels, act=act)


def head(channels: int, classes: int) -> nn.Sequential:
    """Return global average pool and fully connected layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def shuffle(channels: int, groups: int, side: int) -> nn.Sequential:
    """Return a channel shuffle (arXiv 1707.01083, §3.1) of maps ``side``×``side``."""
    return nn.Sequential(
        Reshape((groups, channels // groups, side, side)),
        Transpose((0, 2, 1, 3, 4)),
        Reshape((channels, side, side)),
    )


class Branches(nn.Module):
    """Several layers that read the same map, their outputs side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the concatenation."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Residual(nn.Module):
    """``act(body(x) + shortcut(x))``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, act: Activation | None = nn.ReLU) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.act = act() if act else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        total = self.body(x) + (self.shortcut(x) if self.shortcut is not None else x)
        return self.act(total) if self.act is not None else total


class SqueezeExcite(nn.Module):
    """A factor a channel, from the channels' means (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduced: int, gate: Activation = nn.Sigmoid) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, reduced, 1),
            nn.ReLU(),
            nn.Conv2d(reduced, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map."""
        return x * self.gate(x)


class SkipOver(nn.Module):
    """``x`` beside ``body(x)``: a layer of a DenseNet, or the skip connection of an encoder–decoder."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """Return the concatenation."""
        return torch.cat([x, self.body(x)], 1)
