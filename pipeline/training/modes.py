"""A network's training flag set for a while and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Put ``network`` in evaluation mode for the length of a ``with`` block."""
    was = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network
    finally:
        for module, flag in was.items():
            module.training = flag
