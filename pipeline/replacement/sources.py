"""The convolution that a layer is fused with: what it reads, folded with its BatchNorm, to be fitted anew."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.replacement.affine import fold_behind
from pipeline.replacement.branches import batch_norm
from pipeline.replacement.rule import Site
from pipeline.training.modes import evaluating

_BATCH = 32


@dataclass(frozen=True)
class Source:
    """A convolution, and its BatchNorm if it has one, that the layers behind alone read.

    Attributes:
        nodes: both, in order.
        conv: the convolution itself.
    """

    nodes: tuple[fx.Node, ...]
    conv: nn.Conv2d

    def blank(self) -> nn.Conv2d:
        """Return a convolution of the same form with a bias, all weights zero."""
        made = fold_behind(self.conv, *(torch.zeros(self.conv.out_channels, dtype=torch.float64),) * 2)
        for parameter in made.parameters():
            nn.init.zeros_(parameter)
        return made

    def folded(self, site: Site) -> nn.Conv2d:
        """Return the convolution with its BatchNorm in it."""
        if len(self.nodes) == 1:
            one = torch.ones(self.conv.out_channels, dtype=torch.float64)
            return fold_behind(self.conv, one, torch.zeros_like(one))
        norm = site.module(self.nodes[1])
        assert isinstance(norm, nn.BatchNorm2d)
        return fold_behind(self.conv, *batch_norm(norm))


def source_of(site: Site, node: fx.Node) -> Source | None:
    """Return what makes ``node``: a convolution or a BatchNorm behind one, read by nothing else; None if it is not."""
    nodes: tuple[fx.Node, ...] = (node,)
    if isinstance(site.module(node), nn.BatchNorm2d) and len(node.users) == 1:
        nodes = (node.all_input_nodes[0], node)
    conv = site.module(nodes[0])
    sole = all(len(each.users) == 1 for each in nodes)
    return Source(nodes, conv) if sole and isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" else None


def run(layers: nn.Module, inputs: Tensor) -> Tensor:
    """Return what ``layers`` give, batch by batch, in evaluation mode."""
    with evaluating(layers), torch.no_grad():
        return torch.cat([layers(inputs[at : at + _BATCH]) for at in range(0, len(inputs), _BATCH)])


def set_conv(target: nn.Conv2d, source: nn.Conv2d) -> None:
    """Give ``target`` the weights of ``source``, which has its form."""
    assert target.bias is not None
    assert source.bias is not None
    with torch.no_grad():
        target.weight.copy_(source.weight)
        target.bias.copy_(source.bias)
