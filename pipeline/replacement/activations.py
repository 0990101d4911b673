"""What an activation does to a map that is carried through it: whether a copy of known range passes unchanged."""

from __future__ import annotations

import math

from torch import fx, nn

from pipeline.network.modules import Concat, HardSigmoid, Slice
from pipeline.replacement.rule import Site

Range = tuple[float, float]
"""Least and greatest value that a map can hold."""

ANY: Range = (-math.inf, math.inf)

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.Sigmoid,
    nn.Hardsigmoid,
    HardSigmoid,
    nn.Tanh,
    nn.ELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Mish,
)
"""Functions of one number that nncase 1.9 folds into the KPU's activation table after a convolution."""

_KEEPS_RANGE = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, Slice, nn.Identity)


def _bounds(activation: nn.Module) -> Range | None:
    """The bounds of a clamp, None for other functions. ``nn.ReLU6`` is a ``Hardtanh``."""
    if isinstance(activation, nn.ReLU):
        return (0.0, math.inf)
    if isinstance(activation, nn.Hardtanh):
        return (float(activation.min_val), float(activation.max_val))
    return None


def canonical(activation: nn.Module) -> tuple[object, ...]:
    """Return what is equal for equal functions: ReLU and Clip(0, none) are the same."""
    if isinstance(activation, nn.Sequential):
        return tuple(canonical(part) for part in activation)
    bounds = _bounds(activation)
    if bounds is not None:
        return ("clamp", *bounds)
    values = sorted((name, value) for name, value in vars(activation).items() if isinstance(value, (int, float, str)))
    return (type(activation).__name__, *(pair for pair in values if pair[0] not in ("training", "inplace")))


def identity_range(activation: nn.Module | None) -> Range | None:
    """Return where ``activation`` is the identity, None where that is nowhere (SiLU, Sigmoid, …)."""
    if activation is None:
        return ANY
    if isinstance(activation, nn.Sequential):
        ranges = [identity_range(part) for part in activation]
        known = [each for each in ranges if each is not None]
        return (max(low for low, _ in known), min(high for _, high in known)) if len(known) == len(ranges) else None
    return (0.0, math.inf) if isinstance(activation, nn.LeakyReLU) else _bounds(activation)


def unchanged(activation: nn.Module | None, given: Range) -> bool:
    """Return whether ``activation`` is the identity on every value within ``given``."""
    where = identity_range(activation)
    return where is not None and where[0] <= given[0] and given[1] <= where[1]


def range_after(activation: nn.Module) -> Range:
    """Return the range of the function's values."""
    if isinstance(activation, nn.Sequential):
        return range_after(activation[-1])
    bounds = _bounds(activation)
    if bounds is not None:
        return bounds
    if isinstance(activation, (nn.Sigmoid, nn.Hardsigmoid, HardSigmoid)):
        return (0.0, 1.0)
    return (-1.0, 1.0) if isinstance(activation, nn.Tanh) else ANY


def range_of(site: Site, node: fx.Node) -> Range:
    """Return a range that holds every value of ``node``, as far as it follows from the layers that make it."""
    module = site.module(node)
    if node.op == "placeholder" and site.contract is not None:
        pairs = list(zip(site.contract.mean, site.contract.std, strict=True))
        return (min(-mean / std for mean, std in pairs), max((1 - mean) / std for mean, std in pairs))
    if isinstance(module, ACTIVATIONS):
        return range_after(module)
    if isinstance(module, (*_KEEPS_RANGE, Concat)):
        ranges = [range_of(site, _behind_pad(site, read)) for read in node.all_input_nodes]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        return (min(low, 0.0), max(high, 0.0)) if isinstance(module, nn.AvgPool2d) else (low, high)  # padding counts
    if isinstance(module, nn.Conv2d) and copies_pixels(module):
        low, high = range_of(site, node.all_input_nodes[0])
        return min(low, 0.0), max(high, 0.0)  # a padded pixel
    return ANY


def copies_pixels(conv: nn.Conv2d) -> bool:
    """Return whether each output is one pixel of one input, as behind a pool of the KPU's."""
    if conv.bias is not None:
        return False
    kernels = conv.weight.detach().flatten(1)
    return bool((kernels.amax(1) == 1).all() and (kernels.amin(1) >= 0).all() and (kernels.sum(1) == 1).all())


def _behind_pad(site: Site, node: fx.Node) -> fx.Node:
    """What a layer of −∞ around a map, which a max-pool never takes, pads; else ``node`` itself."""
    pad = site.module(node)
    return node.all_input_nodes[0] if isinstance(pad, nn.ConstantPad2d) and pad.value == -math.inf else node
