"""The depthwise 3×3 that is nearest to a pool: nine weights and a summand a channel, by least squares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.network.modules import Slice

_MOST_PIXELS = 2**14
_RIDGE = 1e-4
"""Of the mean variance of a tap: neighbours hold almost the same."""


def fit_window(conv: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> None:
    """Set the weights of a depthwise 3×3 of padding 1, with a bias, to give ``outputs`` for ``inputs`` (N×C×H×W)."""
    assert conv.bias is not None
    stride = int(conv.stride[0])
    padded = nn.functional.pad(inputs, (1, 1, 1, 1))
    height, width = (stride * (side - 1) + 1 for side in outputs.shape[2:])
    views = [
        Slice(((2, row, row + height, stride), (3, column, column + width, stride)))(padded)
        for row in range(3)
        for column in range(3)
    ]
    every = max(1, outputs[:, 0].numel() // _MOST_PIXELS)
    taps = torch.stack([view.transpose(0, 1).flatten(1)[:, ::every] for view in views], 1).double()  # C × 9 × pixels
    wanted = outputs.transpose(0, 1).flatten(1)[:, None, ::every].double()
    mean, mean_wanted = taps.mean(2, keepdim=True), wanted.mean(2, keepdim=True)
    centred = taps - mean
    gram = centred @ centred.transpose(1, 2)
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1) + torch.finfo(gram.dtype).tiny
    gram = gram + ridge[:, None, None] * torch.eye(9, dtype=gram.dtype)
    weight = torch.linalg.lstsq(gram, centred @ (wanted - mean_wanted).transpose(1, 2)).solution  # C × 9 × 1
    with torch.no_grad():
        conv.weight.copy_(weight.view_as(conv.weight))
        conv.bias.copy_((mean_wanted - (weight * mean).sum(1, keepdim=True)).flatten())
