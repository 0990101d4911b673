"""Counting a network's weights."""

from __future__ import annotations

from torch import nn


def parameters(network: nn.Module) -> int:
    """Return the number of trainable numbers, each counted once (batch-norm statistics are not trainable)."""
    return sum(parameter.numel() for parameter in network.parameters())
