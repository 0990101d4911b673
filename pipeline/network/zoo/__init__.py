"""Architectures to train from scratch: one file an architecture, each with ``build(image, classes, width)``.

A new file of this folder is a new name for recipes. Every architecture keeps what the KPU asks of a network where the
image allows it: padding ``k // 2``, stride 2 on even sizes only, no feature map under 4×4.
"""

from __future__ import annotations

import importlib
import pkgutil

from torch import nn

from pipeline.errors import RecipeError


def names() -> list[str]:
    """Return the names of the architectures."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def build(name: str, image: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Return an untrained network N×C×H×W → N×classes logits; its first weights come from torch's current seed.

    Args:
        name: one of ``names()``.
        image: channels, height, width.
        classes: number of logits.
        width: channels of the first convolution, see the architecture's file.

    Raises:
        RecipeError: no such architecture, or the image is too small for it.
    """
    if name not in names():
        raise RecipeError(
            f"no architecture {name!r} in the zoo", where="model.name", remedy=f"known: {', '.join(names())}"
        )
    architecture = importlib.import_module(f"{__name__}.{name}")
    network: nn.Module = architecture.build(image, classes, width)
    return network
