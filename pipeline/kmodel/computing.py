"""Steps that compute on the CPU: reductions, products, element-wise functions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pipeline.kmodel.memory import Range
from pipeline.kmodel.moving import OneToOne

ReduceOp = Literal["mean", "min", "max", "sum"]
ResizeMode = Literal["bilinear", "nearest"]
Pair = tuple[int, int]
UNBOUNDED: tuple[float, float] = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class Lookup(OneToOne):
    """v4 table_lookup1d, v5 lut1d: ``y = table[x]``; the table is a range."""

    table: Range
    low: float = 0.0
    high: float = 0.0

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return (self.source, self.table)


@dataclass(frozen=True)
class Reduce(OneToOne):
    """Reduce over ``axes`` (of ``source.shape``), starting from ``init``; the target keeps the axes as 1 or drops them.

    A global average pool is "mean" over the last two axes of N×C×H×W.
    """

    op: ReduceOp
    axes: tuple[int, ...]
    init: float = 0.0
    keep_dims: bool = True


@dataclass(frozen=True)
class ReduceWindow(OneToOne):
    """A pool on the CPU: ``op`` over a window of an N×C×H×W map; pairs are (h, w), paddings (before, after) each.

    float32, but v3's QUANTIZED_MAX_POOL2D is uint8. A mean counts the pixels inside the map only. ``activation`` is
    v3's AVERAGE_POOL2D's, which its runtime ignores (kendryte-standalone-sdk lib/drivers/kpu.c).
    """

    op: ReduceOp
    window: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair = (1, 1)
    init: float = 0.0
    clamp: tuple[float, float] = UNBOUNDED
    activation: int = 0


@dataclass(frozen=True)
class MatMul:
    """Float ``y = clamp(a·b + bias)``; a is rows × inner, b inner × columns (b may be constant).

    ``bias`` is float32 bytes (v4) or a range (v5).
    """

    a: Range
    b: Range
    target: Range
    bias: bytes | Range
    clamp: tuple[float, float] = UNBOUNDED

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return (self.a, self.b, self.bias) if isinstance(self.bias, Range) else (self.a, self.b)

    @property
    def outputs(self) -> tuple[Range, ...]:
        """What it writes."""
        return (self.target,)


class FullyConnectedActivation(Enum):
    """What v3's fully connected layer applies last."""

    LINEAR = 0
    RELU = 1
    RELU6 = 2


@dataclass(frozen=True)
class FullyConnected(OneToOne):
    """v3, float: ``y = act(weights·x + bias)``; ``weights`` float32 bytes of [out][in], ``bias`` float32 bytes."""

    activation: FullyConnectedActivation
    weights: bytes
    bias: bytes


@dataclass(frozen=True)
class Softmax(OneToOne):
    """Softmax over ``axis`` of ``source.shape`` with factor ``beta``."""

    axis: int
    beta: float = 1.0


@dataclass(frozen=True)
class Logistic(OneToOne):
    """Float sigmoid (v3 LOGISTIC, v5 SIGMOID and LOGISTIC)."""


@dataclass(frozen=True)
class L2Norm(OneToOne):
    """v3: divide a float vector by its Euclidean length."""


@dataclass(frozen=True)
class Resize(OneToOne):
    """Resize the last two axes of N×C×H×W to ``target.shape``."""

    mode: ResizeMode
    align_corners: bool = False
    half_pixel: bool = False


@dataclass(frozen=True)
class Binary:
    """``y = clamp(a op b)`` in float32 with broadcasting; v3's ADD is op "add"."""

    op: str
    a: Range
    b: Range
    target: Range
    clamp: tuple[float, float] = UNBOUNDED

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return (self.a, self.b)

    @property
    def outputs(self) -> tuple[Range, ...]:
        """What it writes."""
        return (self.target,)


@dataclass(frozen=True)
class QuantisedBinary(Binary):
    """Quantised ``a op b``: (offset, mul, shift) of a, b and the result."""

    rescale: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]] = ((0, 0, 0),) * 3


@dataclass(frozen=True)
class Unary(OneToOne):
    """An element-wise float function by name ("abs", "exp", …)."""

    op: str


@dataclass(frozen=True)
class Conv2d(OneToOne):
    """A float convolution on the CPU (v4, v5): never wanted, always reported.

    ``weights`` (out, in/groups, kh, kw) and ``bias`` are constant ranges in v5, bytes of float32 in v4.
    """

    weights: Range | bytes
    bias: Range | bytes
    kernel: Pair
    groups: int
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    clamp: tuple[float, float] = UNBOUNDED
