"""A convolution as two with fewer channels between them, by the principal parts of what it gives or of what it reads.

Neither is the plain singular value decomposition of the kernel: what counts is the error of the outputs over images,
each output channel by its own variance.

- ``by_outputs``: k×k to r channels, then 1×1. The layer is linear, so the least error is that of the best r-dimensional
  space for its outputs (reduced-rank regression): their principal components.
- ``by_inputs``: 1×1 to r channels, then k×k. With S the inputs' second moment, the parts of the whitened inputs
  S^(−1/2)·x that the kernel K·S^(1/2) keeps most of. It takes the taps for independent, so it is only near the best.

Both give the map between unit variance in every channel, as all share one scale once quantised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEAST_VARIANCE = 1e-8
_LEAST_SHARE = 1e-6
"""Of the greatest eigenvalue: directions below it are noise."""
_MOST_PIXELS = 2**18


def by_outputs(conv: nn.Conv2d, spatial: nn.Conv2d, mix: nn.Conv2d, outputs: Tensor) -> None:
    """Set ``spatial`` (k×k, no bias) and ``mix`` (1×1) to give what ``conv`` does.

    Args:
        conv: O outputs.
        spatial: of the kernel and stride of ``conv``.
        mix: with a bias.
        outputs: of ``conv``, N×O×H×W.
    """
    assert mix.bias is not None
    pixels = _pixels(outputs)
    spread = pixels.var(1).clamp_min(_LEAST_VARIANCE).sqrt()
    mean = pixels.mean(1, keepdim=True)
    centred = (pixels - mean) / spread[:, None]
    values, vectors = _largest(centred @ centred.T / centred.shape[1], spatial.out_channels)
    reduce = (vectors / values.sqrt()).T / spread  # r×O
    expand = spread[:, None] * vectors * values.sqrt()  # O×r
    bias = torch.zeros_like(spread) if conv.bias is None else conv.bias.detach().double()
    with torch.no_grad():
        spatial.weight.copy_(torch.einsum("ro,ochw->rchw", reduce, conv.weight.detach().double()))
        mix.weight.copy_(expand[..., None, None])
        # mean + expand·reduce·(y − mean), where ``spatial`` gives reduce·(y − bias)
        mix.bias.copy_(mean[:, 0] + expand @ (reduce @ (bias - mean[:, 0])))


def by_inputs(conv: nn.Conv2d, mix: nn.Conv2d, spatial: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> None:
    """Set ``mix`` (1×1, no bias: behind it, padding is 0) and ``spatial`` (k×k) to give what ``conv`` does.

    Args:
        conv: C inputs.
        mix: to r channels.
        spatial: of the kernel and stride of ``conv``, with a bias.
        inputs: of ``conv``, N×C×H×W.
        outputs: of ``conv``, N×O×H×W.
    """
    assert spatial.bias is not None
    pixels = _pixels(inputs)
    kernel = conv.weight.detach().double()
    spread = _pixels(outputs).var(1).clamp_min(_LEAST_VARIANCE).sqrt()
    values, vectors = _largest(pixels @ pixels.T / pixels.shape[1], conv.in_channels)
    root = vectors * values.sqrt()  # whitened channels → channels, but for a rotation that the next step undoes
    seen = torch.einsum("ochw,cd->dohw", kernel / spread.view(-1, 1, 1, 1), root).flatten(1)
    _, turned = _largest(seen @ seen.T, mix.out_channels)
    with torch.no_grad():
        mix.weight.copy_(((vectors / values.sqrt()) @ turned).T[..., None, None])
        spatial.weight.copy_(torch.einsum("ochw,cr->orhw", kernel, root @ turned))
        spatial.bias.zero_()
        spatial.bias.copy_((outputs - spatial(mix(inputs))).mean((0, 2, 3)))


def _pixels(maps: Tensor) -> Tensor:
    """Return channels × pixels, evenly many of them, in float64."""
    pixels = maps.transpose(0, 1).flatten(1)
    return pixels[:, :: max(1, pixels.shape[1] // _MOST_PIXELS)].double()


def _largest(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest eigenvalues of a symmetric matrix, none near 0, and their vectors as columns."""
    values, vectors = torch.linalg.eigh(matrix)
    floor = (_LEAST_SHARE * values[-1]).clamp_min(_LEAST_VARIANCE)
    return values[-count:].clamp_min(floor), vectors[:, -count:]
