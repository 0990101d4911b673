"""Which channels of a map a convolution can do without, and what it does with the others then.

Optimal brain surgeon (Hassibi and Stork 1993) for a layer that is linear in its inputs: with G the inputs' covariance
and W the layer's kernel, leaving channel j out, and having the others stand in for it as well as they can, adds
‖W_j‖² / (G⁻¹)_jj to the square error of the outputs. The channel that adds least goes, W and G⁻¹ follow, and so on: no
refit is needed at the end. The taps of a k×k kernel count as so many outputs of one pixel, as though neighbouring
pixels were independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_VARIANCE = 1e-8
_RIDGE = 1e-4
"""Of the mean variance of a channel: channels that hold almost the same do not stand in by large weights."""
_MOST_PIXELS = 2**17


@dataclass(frozen=True)
class Kept:
    """What is left of a layer's inputs.

    Attributes:
        channels: those that stay, in their order.
        weight: of the layer that reads them alone, O×(channels)×k×k, float64.
    """

    channels: Tensor
    weight: Tensor


def keep_channels(weight: Tensor, inputs: Tensor, outputs: Tensor, count: int) -> Kept:
    """Return the ``count`` input channels of a convolution that together lose least of its outputs.

    Args:
        weight: O×C×k×k, dense.
        inputs: of the layer, N×C×H×W.
        outputs: of the layer, N×O×H×W; each channel's error counts by its own variance.
        count: at most C.
    """
    pixels = inputs.transpose(0, 1).flatten(1)
    pixels = pixels[:, :: max(1, pixels.shape[1] // _MOST_PIXELS)].double()
    centred = pixels - pixels.mean(1, keepdim=True)
    covariance = centred @ centred.T / pixels.shape[1]
    covariance.diagonal().add_(_RIDGE * covariance.diagonal().mean() + torch.finfo(covariance.dtype).tiny)
    inverse = torch.linalg.inv(covariance)
    spread = outputs.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).sqrt().double()
    scaled = weight.detach().double() / spread.view(-1, 1, 1, 1)
    columns = scaled.transpose(0, 1).flatten(1)  # C × outputs and taps
    there = torch.ones(len(columns), dtype=torch.bool)
    for _ in range(len(columns) - count):
        loss = columns.square().sum(1) / inverse.diagonal()
        least = int(torch.where(there, loss, torch.inf).argmin())
        stand_in = inverse[least] / inverse[least, least]
        columns = columns - torch.outer(stand_in, columns[least])
        inverse = inverse - torch.outer(stand_in, inverse[least])
        inverse[least, least] = 1.0  # gone: its row is zero
        there[least] = False
    channels = there.nonzero().flatten()
    left = columns[channels].reshape(count, weight.shape[0], *weight.shape[2:]).transpose(0, 1)
    return Kept(channels, left * spread.view(-1, 1, 1, 1))
