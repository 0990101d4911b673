"""Kernels of a depthwise layer as sums of products of smaller ones, each channel for itself.

A depthwise 3×3 and a smaller kernel behind it are one kernel, their product as polynomials:

    kernel[c, s·b + a] = Σ_j rest[c, j, b] · first[c, j, a]

with j counting the branches of a channel, and s the stride between the two. As in ``factorise`` it is linear in each
factor, so the two are solved for in turn, all channels at once. A kernel of one channel has few numbers, so three
things can be afforded: distances are those of the outputs, by the correlations of what the layer reads; several random
starts, of which each channel keeps its best; and the last layer solved for the outputs themselves, which includes what
inner padding does at the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ROUNDS = 15
_STARTS = 8
_RIDGE = 0.01
"""Of the mean diagonal. With none, terms that cancel each other are large, and cancel no more at the border."""
_MOST_PIXELS = 8192
"""Of each channel, to correlate: far more than a kernel has taps."""


def correlations(inputs: Tensor, side: int) -> Tensor:
    """Return how the pixels under a window of odd ``side`` go together in N×C×H×W, as C×side²×side².

    The map is padded by zeros so that the window's centre takes every pixel.
    """
    total = inputs.new_zeros(inputs.shape[1], side * side, side * side)
    images = _enough(inputs)
    for image in inputs[:images]:
        patches = _patches(image[None], side)
        total += patches @ patches.transpose(1, 2)
    return total / images


def factorise_channels(
    kernel: Tensor, together: Tensor, branches: int, seed: int, stride: int = 1
) -> tuple[Tensor, Tensor]:
    """Return ``first`` (C×branches×3×3) and ``rest`` (C×branches×m×m), whose sum of products comes near a kernel.

    Args:
        kernel: C×k×k, k = 3 + stride·(m − 1).
        together: the inputs' `correlations` for side k: what difference a difference of kernels makes.
        branches: products that are summed.
        seed: of the starts.
        stride: every so many of the first factor's pixels are what the second sees.
    """
    channels, taps, _ = kernel.shape
    size = (taps - 3) // stride + 1
    wanted = kernel.flatten(1)
    generator = torch.Generator().manual_seed(seed)
    best = wanted.new_full((channels,), torch.inf)
    firsts, rests = wanted.new_zeros(channels, branches, 3, 3), wanted.new_zeros(channels, branches, size, size)
    for _ in range(_STARTS):
        first = torch.randn(channels, branches, 3, 3, generator=generator) / 3
        rest = _factor(_products(first, size, 1, stride), wanted, together)
        for _ in range(_ROUNDS):
            first = _factor(_products(rest.view_as(rests), 3, stride, 1), wanted, together)
            basis = _products(first.view_as(firsts), size, 1, stride)
            rest = _factor(basis, wanted, together)
        off = wanted - (rest[:, None] @ basis)[:, 0]
        error = (off[:, None] @ together @ off[:, :, None]).flatten()
        better = error < best
        best = torch.where(better, error, best)
        firsts[better], rests[better] = first.view_as(firsts)[better], rest.view_as(rests)[better]
    return firsts, rests


def solve_last(inputs: Tensor, outputs: Tensor, branches: int, stride: int) -> Tensor:
    """Return the last depthwise 3×3 (C·branches×1×3×3), which reads ``inputs``.

    Its sum over each channel's branches, every ``stride``-th pixel taken, comes nearest to ``outputs`` (N×C×H×W),
    whatever each channel's bias.
    """
    channels, width = outputs.shape[1], 9 * branches
    images = _enough(outputs)
    gram, cross = inputs.new_zeros(channels, width + 1, width + 1), inputs.new_zeros(channels, width + 1, 1)
    for image, wanted in zip(inputs[:images], outputs[:images], strict=True):
        patches = _patches(image[None], 3).reshape(channels, width, *image.shape[1:])[..., ::stride, ::stride]
        rows = torch.cat([patches.flatten(2), inputs.new_ones(channels, 1, wanted[0].numel())], 1)
        gram += rows @ rows.transpose(1, 2)
        cross += rows @ wanted.flatten(1)[:, :, None]
    return _ridge(gram, cross)[:, :width].reshape(channels * branches, 1, 3, 3)


def _enough(maps: Tensor) -> int:
    """How many images are enough to correlate."""
    return min(len(maps), -(-_MOST_PIXELS // (maps.shape[2] * maps.shape[3])))


def _patches(image: Tensor, side: int) -> Tensor:
    """The pixels under each place of a window, of 1×C×H×W, as C×side²×(H·W)."""
    channels = image.shape[1]
    return nn.functional.unfold(image, side, padding=side // 2).reshape(channels, side * side, -1)


def _products(known: Tensor, other: int, spread: int, step: int) -> Tensor:
    """What each tap of an unknown factor, ``step`` apart, adds to its product with a known one, as C×(J·other²)×side².

    The known one is C×J×n×n, its taps ``spread`` apart.
    """
    channels, branches, size, _ = known.shape
    reach = spread * (size - 1) + 1
    side = step * (other - 1) + reach
    basis = known.new_zeros(channels, branches, other, other, side, side)
    for row in range(other):
        for column in range(other):
            rows, columns = (slice(step * at, step * at + reach, spread) for at in (row, column))
            basis[:, :, row, column, rows, columns] = known
    return basis.reshape(channels, branches * other * other, side * side)


def _factor(basis: Tensor, wanted: Tensor, together: Tensor) -> Tensor:
    """The weights of the products that come nearest to a kernel."""
    weighted = basis @ together
    return _ridge(weighted @ basis.transpose(1, 2), weighted @ wanted[:, :, None])


def _ridge(gram: Tensor, target: Tensor) -> Tensor:
    """The x of (gram + ridge)·x = target, for each channel, as C×B."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal.add_(_RIDGE * diagonal.mean(1, keepdim=True) + torch.finfo(gram.dtype).eps)
    solved: Tensor = torch.linalg.solve(gram, target)
    return solved[:, :, 0]
