"""What the rules ask of and make of convolutions."""

from __future__ import annotations

import torch
from torch import fx, nn

from pipeline.replacement.rule import Site

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU)


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """Return a size given once, or once an axis, as (height, width)."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def blank_conv(
    inputs: int, outputs: int, *, bias: bool, stride: int | tuple[int, int] = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a 3×3 convolution as the KPU runs it (padding 1) with all weights zero; no random number is drawn."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=bias, device="meta").to_empty(device="cpu")
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def copy_bias(source: nn.Conv2d, target: nn.Conv2d) -> None:
    """Set the bias of ``target``, which must have one if ``source`` has."""
    if source.bias is not None and target.bias is not None:
        with torch.no_grad():
            target.bias.copy_(source.bias)


def describe(conv: nn.Conv2d) -> str:
    """Return kernel, channels and stride for a report: "5×5, 32→64, stride 1"."""
    height, width = pair(conv.kernel_size)
    rows, columns = pair(conv.stride)
    stride = str(rows) if rows == columns else f"{rows}×{columns}"
    groups = f", {conv.groups} groups" if conv.groups > 1 else ""
    return f"{height}×{width}, {conv.in_channels}→{conv.out_channels}, stride {stride}{groups}"


def not_dense_same(conv: nn.Conv2d) -> str:
    """Return why ``conv`` is not a dense square convolution of odd size that keeps H×W at stride 1; "" if it is."""
    height, width = pair(conv.kernel_size)
    if conv.groups != 1:
        return "grouped or depthwise, not dense"
    if height != width or height % 2 == 0:
        return f"{height}×{width}, not square of an odd size"
    if pair(conv.dilation) != (1, 1):
        return "dilated"
    if conv.padding_mode != "zeros":
        return f"padded by {conv.padding_mode}, not by zeros"
    half = (height - 1) // 2
    if isinstance(conv.padding, str) or pair(conv.padding) != (half, half):
        return f"padding is not {half} on every side"
    if pair(conv.stride) not in ((1, 1), (2, 2)):
        return "stride is neither 1 nor 2"
    return ""


def folded_after(site: Site) -> list[fx.Node]:
    """Return the batch normalisation and activation that follow the site's convolution and are fused into it."""
    following: list[fx.Node] = []
    for kinds in ((nn.BatchNorm2d,), _ACTIVATIONS):
        node = site.after(following[-1] if following else site.node)
        if node is not None and isinstance(site.module(node), kinds):
            following.append(node)
    return following
