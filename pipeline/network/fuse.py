"""Activations that ONNX writes as several nodes, put together again in a lifted graph.

Each takes the name of its last node. ``x·σ(x)`` → ``nn.SiLU``; ``x·hardsigmoid(x)`` → ``nn.Hardswish``;
``x·tanh(softplus(x))`` → ``nn.Mish``; ``x·½·(1 + erf(x/√2))`` in its usual orders → ``nn.GELU``; a product with
constant weights and the sum with a constant vector after it → one ``nn.Linear``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from pipeline.network.modules import Add, Div, Mul, Pointwise


def fuse(network: fx.GraphModule) -> fx.GraphModule:
    """Fuse in place; return ``network``."""
    for node in list(network.graph.nodes):
        for rule in _RULES:
            if node.op == "call_module" and rule(network, node):
                break
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    _delete_unused_buffers(network)
    network.recompile()
    return network


def _delete_unused_buffers(network: fx.GraphModule) -> None:
    read = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in network.named_buffers(recurse=False) if name not in read]:
        delattr(network, name)


def _module(network: fx.GraphModule, node: object) -> nn.Module | None:
    if isinstance(node, fx.Node) and node.op == "call_module":
        return network.get_submodule(str(node.target))
    return None


def _constant(network: fx.GraphModule, node: object) -> Tensor | None:
    if isinstance(node, fx.Node) and node.op == "get_attr":
        value = getattr(network, str(node.target))
        return value if isinstance(value, Tensor) else None
    return None


def _number(network: fx.GraphModule, node: object) -> float | None:
    value = _constant(network, node)
    return float(value) if value is not None and value.numel() == 1 else None


def _become(network: fx.GraphModule, node: fx.Node, module: nn.Module, read: fx.Node) -> bool:
    """Put ``module`` in the place of ``node``."""
    setattr(network, str(node.target), module)
    node.args = (read,)
    return True


def _operands(node: fx.Node) -> list[tuple[fx.Node, fx.Node]]:
    """Return the two arguments of a commutative node, in both orders."""
    left, right = node.args
    return [
        (one, other)
        for one, other in ((left, right), (right, left))
        if isinstance(one, fx.Node) and isinstance(other, fx.Node)
    ]


def _gated(network: fx.GraphModule, node: fx.Node) -> bool:
    """``x·gate(x)``."""
    if type(_module(network, node)) is not Mul:
        return False
    for x, gate in _operands(node):
        kind = _module(network, gate)
        if kind is None or len(gate.users) != 1:
            continue
        source = gate.args[0]
        if isinstance(kind, nn.Sigmoid) and source is x:
            return _become(network, node, nn.SiLU(), x)
        if isinstance(kind, nn.Hardsigmoid) and source is x:
            return _become(network, node, nn.Hardswish(), x)
        if isinstance(kind, nn.Tanh) and isinstance(source, fx.Node) and len(source.users) == 1:
            softplus = _module(network, source)
            if isinstance(softplus, nn.Softplus) and softplus.beta == 1 and source.args[0] is x:
                return _become(network, node, nn.Mish(), x)
    return False


def _factors(network: fx.GraphModule, node: fx.Node) -> tuple[list[fx.Node], float]:
    """Return the factors of a chain of Muls that nothing else reads, and the product of its constant numbers."""
    pending, factors, scale = [node], [], 1.0
    while pending:
        factor = pending.pop()
        number = _number(network, factor)
        if number is not None:
            scale *= number
        elif type(_module(network, factor)) is Mul and (factor is node or len(factor.users) == 1):
            pending.extend(argument for argument in factor.args if isinstance(argument, fx.Node))
        else:
            factors.append(factor)
    return factors, scale


def _gelu(network: fx.GraphModule, node: fx.Node) -> bool:
    """``½·x·(1 + erf(x/√2))``, the factors in any order."""
    if type(_module(network, node)) is not Mul:
        return False
    factors, scale = _factors(network, node)
    if len(factors) != 2 or abs(scale - 0.5) > 1e-6:
        return False
    for x, gate in (factors, factors[::-1]):
        if type(_module(network, gate)) is not Add or len(gate.users) != 1:
            continue
        for erf, one in _operands(gate):
            bend = _module(network, erf)
            if _number(network, one) != 1.0 or not isinstance(bend, Pointwise) or bend.function != "Erf":
                continue
            if len(erf.users) == 1 and _is_scaled(network, erf.args[0], x, 1 / math.sqrt(2)):
                return _become(network, node, nn.GELU(), x)
    return False


def _is_scaled(network: fx.GraphModule, node: object, x: fx.Node, scale: float) -> bool:
    """Whether ``node`` is ``x·scale`` or ``x/(1/scale)``."""
    kind = _module(network, node)
    if not isinstance(node, fx.Node) or type(kind) not in (Mul, Div):
        return False
    for value, factor in _operands(node)[: 2 if type(kind) is Mul else 1]:
        number = _number(network, factor)
        if value is x and number:
            return abs((number if type(kind) is Mul else 1 / number) - scale) < 1e-6
    return False


def _biased(network: fx.GraphModule, node: fx.Node) -> bool:
    """``Linear`` without bias, then ``+ constant``."""
    if type(_module(network, node)) is not Add:
        return False
    for product, constant in _operands(node):
        layer, bias = _module(network, product), _constant(network, constant)
        if not isinstance(layer, nn.Linear) or layer.bias is not None or bias is None or len(product.users) != 1:
            continue
        if bias.numel() != layer.out_features or bias.shape[-1] != layer.out_features or not bias.is_floating_point():
            continue
        fused = nn.Linear(layer.in_features, layer.out_features, device="meta")
        fused.weight = layer.weight
        fused.bias = nn.Parameter(torch.clone(bias.reshape(-1)))
        setattr(network, str(node.target), fused)
        node.args = product.args
        return True
    return False


_RULES: tuple[Callable[[fx.GraphModule, fx.Node], bool], ...] = (_gated, _gelu, _biased)
