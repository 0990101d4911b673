"""The values between layers, beside a network's outputs: what a student may learn from its teacher as well."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_LEAST_VARIANCE = 1e-8


@contextmanager
def watching(network: nn.Module, layers: Collection[str]) -> Iterator[dict[str, Tensor]]:
    """Give a mapping that holds what each of ``layers`` gave in the last run of ``network``."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda module, given, output: seen.__setitem__(name, output)

    hooks = [network.get_submodule(name).register_forward_hook(note(name)) for name in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def feature_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], pairs: Mapping[str, str]) -> Tensor:
    """Return the mean square difference of features over their variance, the mean over ``pairs`` and channels.

    FitNets' hint (Romero et al., arXiv 1412.6550), of equal shapes, so that nothing stands between; each channel's
    variance makes layers and channels count alike.

    Args:
        student: what its layers gave, N×C or N×C×H×W.
        teacher: likewise.
        pairs: layers of the student, and those of the teacher whose features they learn.
    """
    errors = []
    for own, other in pairs.items():
        wanted = teacher[other]
        over = [axis for axis in range(wanted.ndim) if axis != 1]
        variance = wanted.var(over, keepdim=True).clamp_min(_LEAST_VARIANCE)
        errors.append(((student[own] - wanted).square() / variance).mean())
    return torch.stack(errors).mean()
