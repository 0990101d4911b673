"""Modules for the ONNX operators that PyTorch has functions for, but no ``nn.Module``.

A lifted network has one module a node, so that a layer has a name, can be replaced and can be looked up by type. None
of these has weights; constant operands are buffers of the ``GraphModule``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """``left + right``, broadcast."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the sum."""
        return left + right


class Sub(nn.Module):
    """``left − right``, broadcast."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the difference."""
        return left - right


class Mul(nn.Module):
    """``left · right``, element by element, broadcast."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the product."""
        return left * right


class Div(nn.Module):
    """``left / right``, element by element, broadcast."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the quotient."""
        return left / right


class MatMul(nn.Module):
    """Matrix product of two activations (one with constant weights is an ``nn.Linear``)."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the product."""
        return torch.matmul(left, right)


class Pointwise(nn.Module):
    """A function of one number, applied to each: one of ``Pointwise.FUNCTIONS`` (their names are ONNX's)."""

    FUNCTIONS: ClassVar[dict[str, Callable[[Tensor], Tensor]]] = {
        "Abs": torch.abs,
        "Erf": torch.erf,
        "Exp": torch.exp,
        "Log": torch.log,
        "Neg": torch.neg,
        "Reciprocal": torch.reciprocal,
        "Sqrt": torch.sqrt,
    }

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Return ``function(x)``."""
        return self.FUNCTIONS[self.function](x)

    def extra_repr(self) -> str:
        """Name the function."""
        return self.function


class HardSigmoid(nn.Module):
    """``max(0, min(1, alpha·x + beta))`` with any slope (``nn.Hardsigmoid`` has 1/6)."""

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return torch.clamp(self.alpha * x + self.beta, 0.0, 1.0)

    def extra_repr(self) -> str:
        """Show slope and offset."""
        return f"alpha={self.alpha}, beta={self.beta}"


class Concat(nn.Module):
    """Concatenation along ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *parts: Tensor) -> Tensor:
        """Return the parts, one after another."""
        return torch.cat(parts, self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class Mean(nn.Module):
    """Mean over ``dims``, which never include the batch."""

    def __init__(self, dims: tuple[int, ...], keepdim: bool) -> None:
        super().__init__()
        self.dims, self.keepdim = dims, keepdim

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean."""
        return x.mean(self.dims, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"dims={self.dims}, keepdim={self.keepdim}"


class Reshape(nn.Module):
    """N×anything → N×``shape``; the batch stays."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` in its new shape."""
        return x.reshape(x.size(0), *self.shape)

    def extra_repr(self) -> str:
        """Show the shape."""
        return f"shape={self.shape}"


class Transpose(nn.Module):
    """Axes in another order; the batch stays first."""

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with its axes in ``order``."""
        return x.permute(self.order)

    def extra_repr(self) -> str:
        """Show the order."""
        return f"order={self.order}"


class Slice(nn.Module):
    """``x[start:end:step]`` along some axes, each given as (dim, start, end or None, step)."""

    def __init__(self, ranges: tuple[tuple[int, int, int | None, int], ...]) -> None:
        super().__init__()
        self.ranges = ranges

    def forward(self, x: Tensor) -> Tensor:
        """Return the part of ``x``."""
        index = [slice(None)] * (1 + max(dim for dim, *_ in self.ranges))
        for dim, start, end, step in self.ranges:
            index[dim] = slice(start, end, step)
        return x[tuple(index)]

    def extra_repr(self) -> str:
        """Show the ranges."""
        return f"ranges={self.ranges}"


class Split(nn.Module):
    """Parts of ``sizes`` along ``dim``, as a tuple."""

    def __init__(self, sizes: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.sizes, self.dim = sizes, dim

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the parts."""
        return torch.split(x, list(self.sizes), self.dim)

    def extra_repr(self) -> str:
        """Show sizes and axis."""
        return f"sizes={self.sizes}, dim={self.dim}"


class Squeeze(nn.Module):
    """Removal of axes of length 1."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` without ``dims``."""
        return torch.squeeze(x, self.dims)

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"dims={self.dims}"


class Unsqueeze(nn.Module):
    """Insertion of axes of length 1, numbered as in the output."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with ``dims``."""
        for dim in sorted(self.dims):
            x = x.unsqueeze(dim)
        return x

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"dims={self.dims}"
