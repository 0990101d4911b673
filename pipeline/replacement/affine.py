"""Runs of layers that give ``scale·x + shift`` a channel: BatchNorm, and products and sums with constants."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.network.modules import Add, Div, Mul, Sub
from pipeline.replacement.branches import batch_norm
from pipeline.replacement.rule import Miss, Site

AFFINE = (nn.BatchNorm2d, Mul, Add, Sub, Div)


@dataclass(frozen=True)
class Run:
    """Layers one behind another, each read by the next alone.

    Attributes:
        nodes: in order.
        scale: one a channel, or one for all; float64, as is ``shift``.
        shift: one a channel, or one for all.
    """

    nodes: tuple[fx.Node, ...]
    scale: Tensor
    shift: Tensor

    def on(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return scale and shift, one a channel."""
        return self.scale.expand(channels), self.shift.expand(channels)

    def found(self, site: Site) -> str:
        """Name its layers for a report: "BatchNorm2d, Mul, Add"."""
        return ", ".join(type(site.module(node)).__name__ for node in self.nodes)


def run_at(site: Site) -> Run | Miss:
    """Return the run that begins at the site's layer, or why none does."""
    affine = _affine(site, site.node)
    if affine is None:
        return Miss("not one factor and one summand a channel, both known")
    before = map_before(site.node)
    if before is not None and len(before.users) == 1 and _affine(site, before) is not None:
        return Miss(f"part of what begins at an earlier layer, as {before.target} is")
    scale, shift = affine
    nodes = [site.node]
    while (after := site.after(nodes[-1])) is not None and (affine := _affine(site, after)) is not None:
        scale, shift = scale * affine[0], shift * affine[0] + affine[1]  # one for all broadcasts
        nodes.append(after)
    return Run(tuple(nodes), scale, shift)


def map_before(node: fx.Node) -> fx.Node | None:
    """Return the only computed value that ``node`` reads, whatever constants it reads as well."""
    read = [each for each in node.all_input_nodes if each.op != "get_attr"]
    return read[0] if len(read) == 1 else None


def fold_behind(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Conv2d:
    """Return a convolution that does ``scale·conv(x) + shift``."""
    bias = torch.zeros(conv.out_channels, dtype=torch.float64) if conv.bias is None else conv.bias.detach().double()
    return _like(conv, conv.weight.detach().double() * scale[:, None, None, None], bias * scale + shift)


def fold_before(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Conv2d:
    """Return a convolution that does ``conv(scale·x + shift)`` wherever its kernel reads no padding."""
    # Row o: which channels output o reads.
    read = torch.arange(conv.in_channels).view(conv.groups, -1)
    read = read.repeat_interleave(conv.out_channels // conv.groups, dim=0)
    weight = conv.weight.detach().double()
    bias = (weight * shift[read][..., None, None]).sum((1, 2, 3))
    if conv.bias is not None:
        bias = bias + conv.bias.detach()
    return _like(conv, weight * scale[read][..., None, None], bias)


def _like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        conv.groups,
        padding_mode=conv.padding_mode,
        device="meta",
    ).to_empty(device="cpu")
    assert made.bias is not None
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made


def _affine(site: Site, node: fx.Node) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of one layer; None where it is no such layer."""
    module = site.module(node)
    if isinstance(module, nn.BatchNorm2d):
        return None if module.running_mean is None else batch_norm(module)
    if not isinstance(module, AFFINE) or len(node.args) != 2 or map_before(node) is None:
        return None
    left, right = (_constant(site, operand) for operand in node.args)
    constant = left if right is None else right
    if constant is None or (left is None) == (right is None):
        return None
    one, zero = torch.ones_like(constant), torch.zeros_like(constant)
    if isinstance(module, Add):
        return one, constant
    if isinstance(module, Mul):
        return constant, zero
    if isinstance(module, Sub):
        return (one, -constant) if left is None else (-one, constant)
    return (1.0 / constant, zero) if left is None and bool((constant != 0).all()) else None


def _constant(site: Site, operand: object) -> Tensor | None:
    """A constant operand as one number a channel, or one; None where it is computed or varies over the map."""
    if isinstance(operand, (int, float)):
        return torch.tensor([float(operand)], dtype=torch.float64)
    if not isinstance(operand, fx.Node) or operand.op != "get_attr":
        return None
    value: Tensor = site.network.get_buffer(str(operand.target)).detach().double()
    sizes = (*(1,) * (4 - value.ndim), *value.shape)
    return value.reshape(-1) if len(sizes) == 4 and sizes[0] == sizes[2] == sizes[3] == 1 else None
