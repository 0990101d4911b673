"""The convolutions of a merge, with their weights: what ``merge`` plans, built."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.replacement.activations import ANY, identity_range
from pipeline.replacement.merge import ORIGIN, Layer, State

_MARGIN = 0.1


@dataclass(frozen=True)
class Carry:
    """How the value that all branches read is carried where it can be negative: as ``scale·x + offset``, a channel."""

    scale: Tensor
    offset: Tensor


def carry(layers: Sequence[Layer], values: Tensor) -> Carry:
    """Return the scale and offset that bring every channel of ``values`` (N×C×H×W) to where activations keep it.

    A tenth of its range is left on either side, for images that ``values`` does not hold.
    """
    low, high = values.amin((0, 2, 3)).double(), values.amax((0, 2, 3)).double()
    margin = _MARGIN * (high - low)
    low, high = low - margin, high + margin
    windows = [identity_range(layer.activation) or ANY for layer in layers if ORIGIN in layer.targets]
    bottom = max((window[0] for window in windows), default=-math.inf)
    top = min((window[1] for window in windows), default=math.inf)
    scale = torch.ones_like(low)
    if math.isfinite(bottom) and math.isfinite(top):
        scale = ((top - bottom) / (high - low).clamp_min(torch.finfo(low.dtype).tiny)).clamp_max(1.0)
    return Carry(scale, bottom - low * scale if math.isfinite(bottom) else torch.zeros_like(low))


def chain(layers: Sequence[Layer], *, blank: bool = False) -> nn.Sequential:
    """Return the convolutions of a plan, with a layer of zeros before one whose padding differs from side to side.

    Args:
        layers: the plan.
        blank: leave all weights zero.
    """
    made = nn.Sequential()
    for number, layer in enumerate(layers, 1):
        top, left, bottom, right = layer.pads
        even = (top, left) == (bottom, right)
        if not even:
            made.add_module(f"pad{number}", nn.ZeroPad2d((left, right, top, bottom)))
        conv = nn.Conv2d(
            layer.inputs,
            layer.outputs,
            layer.kernel,
            layer.stride,
            (top, left) if even else 0,
            groups=layer.inputs if layer.by_channel else 1,
            device="meta",
        ).to_empty(device="cpu")
        for parameter in conv.parameters():
            nn.init.zeros_(parameter)
        made.add_module(f"merged{number}", conv)
        for name, part in _functions(layer.activation):
            made.add_module(f"{name}{number}", copy.deepcopy(part))
    if not blank:
        set_weights(layers, made)
    return made


def _functions(activation: nn.Module | None) -> list[tuple[str, nn.Module]]:
    """An activation's layers, with their names in a chain."""
    if isinstance(activation, nn.Sequential):
        clamp, function = activation
        return [("clamp", clamp), ("act", function)]
    return [] if activation is None else [("act", activation)]


def set_weights(layers: Sequence[Layer], made: nn.Sequential, carried: Carry | None = None) -> None:
    """Set the weights of a plan's `chain`; ``carried`` is how the branches' input is carried, None for as it is."""
    convs = [layer for layer in made if isinstance(layer, nn.Conv2d)]
    for number, (layer, conv) in enumerate(zip(layers, convs, strict=True)):
        weight, bias = parameters(layer, carried if number else None, carried)
        assert conv.bias is not None
        with torch.no_grad():
            conv.weight.copy_(weight)
            conv.bias.copy_(bias)


def parameters(layer: Layer, given: Carry | None, wanted: Carry | None) -> tuple[Tensor, Tensor]:
    """Return the kernel (O×I/groups×h×w) and the bias of one layer, in float64.

    Args:
        layer: of a plan.
        given: how its input holds the value that the branches read.
        wanted: how its output is to hold it.
    """
    weight = torch.zeros(layer.outputs, layer.inputs, *layer.kernel, dtype=torch.float64)
    bias = torch.zeros(layer.outputs, dtype=torch.float64)
    rows, columns = _offsets(layer.targets), _offsets(layer.sources)
    for block in layer.blocks:
        if block.step is None:
            kernel = torch.eye(layer.sources[block.source], dtype=torch.float64)[..., None, None]
            added, top, left = torch.zeros(len(kernel), dtype=torch.float64), *layer.pads[:2]
        else:
            kernel, added = block.step.affine()
            top, left = layer.pads[0] - block.step.pads[0], layer.pads[1] - block.step.pads[1]
        if block.source == ORIGIN and given is not None:
            kernel = kernel / given.scale[None, :, None, None]
            added = added - kernel.sum((2, 3)) @ given.offset
        if block.target == ORIGIN and wanted is not None:
            kernel = kernel * wanted.scale[:, None, None, None]
            added = added * wanted.scale + wanted.offset
        row, column = rows[block.target], columns[block.source]
        height, width = kernel.shape[2:]
        part = weight[row : row + len(kernel), column : column + kernel.shape[1]]
        part[:, :, top : top + height, left : left + width] += kernel
        bias[row : row + len(kernel)] += added
    if layer.by_channel:
        weight = weight.diagonal().permute(2, 0, 1)[:, None]
    return weight, bias


def _offsets(states: dict[State, int]) -> dict[State, int]:
    """The first channel of each state."""
    found, start = {}, 0
    for state, channels in states.items():
        found[state] = start
        start += channels
    return found
