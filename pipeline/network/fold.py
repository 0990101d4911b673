"""Batch normalisation folded into the layer before it.

``γ·(W·x + b − μ)/√(σ² + ε) + β`` is a layer with weights ``W·s`` and bias ``(b − μ)·s + β``, ``s = γ/√(σ² + ε)``.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

_NORM = (nn.BatchNorm2d, nn.BatchNorm1d)


def fold_batchnorm(network: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of ``network`` in evaluation mode, each BatchNorm folded into the Conv2d or Linear before it.

    A BatchNorm stays where nothing can take it: after another kind of layer, or after one whose output, or whose
    weights, something else uses as well.
    """
    folded = copy.deepcopy(network).eval()
    calls: dict[str, int] = {}
    for node in folded.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    for node in list(folded.graph.nodes):
        if node.op != "call_module" or not isinstance(node.args[0], fx.Node):
            continue
        before, norm = node.args[0], folded.get_submodule(str(node.target))
        if not isinstance(norm, _NORM) or before.op != "call_module" or len(before.users) != 1:
            continue
        layer = folded.get_submodule(str(before.target))
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) or calls[str(before.target)] != 1:
            continue
        if norm.running_mean is None or norm.running_var is None:
            continue
        _fold(layer, norm)
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)
    folded.delete_all_unused_submodules()
    folded.graph.lint()
    folded.recompile()
    return folded


def _fold(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, norm: nn.BatchNorm2d | nn.BatchNorm1d) -> None:
    """Change the weights and bias of ``layer`` in place; computed in float64, kept in the layer's own type."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = 1.0 / torch.sqrt(norm.running_var.double() + norm.eps)
        if norm.affine:
            scale = scale * norm.weight.double()
        bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.double()
        shift = (bias - norm.running_mean.double()) * scale + (norm.bias.double() if norm.affine else 0.0)
        kind = layer.weight.dtype
        layer.weight.copy_((layer.weight.double() * _along_outputs(scale, layer)).to(kind))
        layer.bias = nn.Parameter(shift.to(kind), requires_grad=layer.weight.requires_grad)


def _along_outputs(scale: Tensor, layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> Tensor:
    """Return ``scale`` in a shape that multiplies the weights of each output channel."""
    if isinstance(layer, nn.Linear):
        return scale.reshape(-1, 1)
    if isinstance(layer, nn.Conv2d):
        return scale.reshape(-1, 1, 1, 1)
    # Inputs × outputs/groups × k × k: group g makes the g-th part of the outputs.
    inputs = layer.in_channels // layer.groups
    return scale.reshape(layer.groups, 1, -1).expand(-1, inputs, -1).reshape(layer.in_channels, -1, 1, 1)
