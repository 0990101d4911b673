"""Functions and operators in a traced network (``x + y``, ``F.relu``, ``torch.flatten``) as the modules they equal.

Networks that a person wrote mix both; ``to_onnx`` writes modules alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from pipeline.network.modules import Add, Concat, Div, MatMul, Mean, Mul, Sub

Call = tuple[nn.Module, tuple[Any, ...]]
"""A module and what it is called with."""

_SIMPLE: dict[Any, type[nn.Module]] = {
    operator.add: Add,
    operator.iadd: Add,
    torch.add: Add,
    "add": Add,
    operator.sub: Sub,
    torch.sub: Sub,
    operator.mul: Mul,
    torch.mul: Mul,
    "mul": Mul,
    operator.truediv: Div,
    torch.div: Div,
    operator.matmul: MatMul,
    torch.matmul: MatMul,
    torch.relu: nn.ReLU,
    functional.relu: nn.ReLU,
    "relu": nn.ReLU,
    functional.relu6: nn.ReLU6,
    functional.silu: nn.SiLU,
    functional.hardswish: nn.Hardswish,
    torch.sigmoid: nn.Sigmoid,
    "sigmoid": nn.Sigmoid,
    torch.tanh: nn.Tanh,
    "tanh": nn.Tanh,
}


def _flatten(x: fx.Node, start_dim: int = 0, end_dim: int = -1) -> Call:
    return nn.Flatten(start_dim, end_dim), (x,)


def _concat(tensors: Any, dim: int = 0) -> Call:
    return Concat(dim), tuple(tensors)


def _mean(x: fx.Node, dim: Any, keepdim: bool = False) -> Call:
    return Mean(tuple(dim) if isinstance(dim, (list, tuple)) else (dim,), keepdim), (x,)


def _adaptive(x: fx.Node, output_size: Any) -> Call:
    return nn.AdaptiveAvgPool2d(output_size), (x,)


_BUILT: dict[Any, Callable[..., Call]] = {
    torch.flatten: _flatten,
    "flatten": _flatten,
    torch.cat: _concat,
    torch.mean: _mean,
    "mean": _mean,
    functional.adaptive_avg_pool2d: _adaptive,
}


def as_module(node: fx.Node) -> Call:
    """Return the module that a ``call_function`` or ``call_method`` node equals, and its arguments.

    Raises:
        ValueError: there is none among those known here.
    """
    if node.target in _SIMPLE:
        return _SIMPLE[node.target](), node.args
    if node.target in _BUILT:
        return _BUILT[node.target](*node.args, **node.kwargs)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    raise ValueError(f"the function {name} has no module here")
