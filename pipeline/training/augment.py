"""Random changes to a batch of images that leave its labels true: flip, shift and erase, on whole batches at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Augmentation = Literal["flip", "shift", "erase"]

_SHIFT = 2  # pixels at most, each way
_ERASED = 0.25  # of a side: the largest hole
_ERASE_CHANCE = 0.5


def augment(images: Tensor, kinds: Sequence[Augmentation], generator: torch.Generator) -> Tensor:
    """Return ``images`` (uint8 N×C×H×W) changed at random, each image on its own; the argument is left alone.

    ``flip`` mirrors left and right with chance ½; ``shift`` moves by up to 2 pixels, filling with pixel 0; ``erase``
    sets a rectangle of up to a quarter of each side to pixel 0, with chance ½ (DeVries & Taylor, arXiv 1708.04552).
    """
    if "flip" in kinds:
        images = _flip(images, generator)
    if "shift" in kinds:
        images = _shift(images, generator)
    if "erase" in kinds:
        images = _erase(images, generator)
    return images


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def _shift(images: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * _SHIFT + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + offsets[0]).view(count, height, 1)
    columns = (torch.arange(width) + offsets[1]).view(count, 1, width)
    padded = torch.nn.functional.pad(images, (_SHIFT, _SHIFT, _SHIFT, _SHIFT))
    # Indexing with slices between index tensors puts the indexed axes first: N×H×W×C.
    return padded[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)


def _erase(images: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    draws = torch.rand(5, count, 1, generator=generator)
    inside = []
    for size, extent, start in ((height, draws[0], draws[1]), (width, draws[2], draws[3])):
        length = (extent * _ERASED * size).ceil()
        first = (start * (size - length + 1)).floor()
        positions = torch.arange(size)
        inside.append((positions >= first) & (positions < first + length))
    hole = inside[0].view(count, 1, height, 1) & inside[1].view(count, 1, 1, width)
    hole &= (draws[4] < _ERASE_CHANCE).view(count, 1, 1, 1)
    return images.masked_fill(hole, 0)
