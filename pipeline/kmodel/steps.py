"""The operators of a kmodel's program, each with its own parameters.

Every step has ``inputs`` and ``outputs`` (ranges). Shapes are outermost first. An operator whose arithmetic differs
between versions says so; the version is ``Kmodel.version``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import Range

ReduceOp = Literal["mean", "min", "max", "sum"]
ResizeMode = Literal["bilinear", "nearest"]
Pair = tuple[int, int]
UNBOUNDED: tuple[float, float] = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class _Unary:
    """Base of the operators with one input and one output."""

    source: Range
    target: Range

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return (self.source,)

    @property
    def outputs(self) -> tuple[Range, ...]:
        """What it writes."""
        return (self.target,)


@dataclass(frozen=True)
class Upload(_Unary):
    """Copy a dense uint8 N×C×H×W map (``source.shape``) into KPU memory's row layout."""


@dataclass(frozen=True)
class Download(_Unary):
    """v5: copy a KPU map (``source.shape``) out of KPU memory's row layout to a dense uint8 one."""


@dataclass(frozen=True)
class Copy(_Unary):
    """Copy a tensor; source and target may have different strides (v5)."""


@dataclass(frozen=True)
class Convert(_Unary):
    """v5: change the element type."""


@dataclass(frozen=True)
class Dequantise(_Unary):
    """v3, v5: ``x = q·scale + bias`` in float32."""

    scale: float
    bias: float


@dataclass(frozen=True)
class DequantiseV4(_Unary):
    """v4: ``x = (q − zero_point)·(1/scale)``, the reciprocal rounded to float32 first."""

    zero_point: int
    scale: float


@dataclass(frozen=True)
class DequantiseChannels(_Unary):
    """v3: ``x = q·scale[c] + bias[c]``; ``source.shape`` is (channels, elements a channel)."""

    scale_bias: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Quantise(_Unary):
    """Float to uint8, clamped to 0…255.

    v3: ``q = round_half_away((x − bias)·(1/scale))``, ``scale`` the step and ``bias`` the real value of code 0.
    v5: ``q = round_half_even(x·scale + bias)``, ``scale`` the stored multiplier 1/step and ``bias`` the zero point.
    """

    scale: float
    bias: float


@dataclass(frozen=True)
class QuantiseV4(_Unary):
    """v4: ``q = clamp(round_half_away(x·scale + zero_point))``."""

    zero_point: int
    scale: float


@dataclass(frozen=True)
class Requantise(_Unary):
    """v3: ``y = table[q]``."""

    table: bytes


@dataclass(frozen=True)
class Lookup(_Unary):
    """v4 table_lookup1d, v5 lut1d: ``y = table[x]``; the table is a range."""

    table: Range
    low: float = 0.0
    high: float = 0.0

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return (self.source, self.table)


@dataclass(frozen=True)
class Reduce(_Unary):
    """Reduce over ``axes`` (of ``source.shape``), starting from ``init``; the target keeps the axes as 1 or drops them.

    A global average pool is "mean" over the last two axes of N×C×H×W.
    """

    op: ReduceOp
    axes: tuple[int, ...]
    init: float = 0.0
    keep_dims: bool = True


@dataclass(frozen=True)
class ReduceWindow(_Unary):
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
class Pad(_Unary):
    """Pad ``source.shape`` by (before, after, interior) an axis with ``value``; negative amounts crop.

    ``scalar_type`` is v4's type word, which nncase 0.2 does not set to the value's type (0 also for uint8).
    """

    paddings: tuple[tuple[int, int, int], ...]
    value: float
    mode: int = 0
    scalar_type: int = 0


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
class FullyConnected(_Unary):
    """v3, float: ``y = act(weights·x + bias)``; ``weights`` float32 bytes of [out][in], ``bias`` float32 bytes."""

    activation: FullyConnectedActivation
    weights: bytes
    bias: bytes


@dataclass(frozen=True)
class Flatten(_Unary):
    """v3, float: C×H×W (``source.shape``) to H×W×C order, as TensorFlow flattens."""


@dataclass(frozen=True)
class Softmax(_Unary):
    """Softmax over ``axis`` of ``source.shape`` with factor ``beta``."""

    axis: int
    beta: float = 1.0


@dataclass(frozen=True)
class Logistic(_Unary):
    """Float sigmoid (v3 LOGISTIC, v5 SIGMOID and LOGISTIC)."""


@dataclass(frozen=True)
class L2Norm(_Unary):
    """v3: divide a float vector by its Euclidean length."""


@dataclass(frozen=True)
class Resize(_Unary):
    """Resize the last two axes of N×C×H×W to ``target.shape``."""

    mode: ResizeMode
    align_corners: bool = False
    half_pixel: bool = False


@dataclass(frozen=True)
class AddPadding(_Unary):
    """v3: write ``channels`` uint8 values to KPU memory as 4×4 maps, each value in its map's first pixel."""

    channels: int


@dataclass(frozen=True)
class RemovePadding(_Unary):
    """v3: take the first of every 16 uint8 values, ``channels`` times."""

    channels: int


@dataclass(frozen=True)
class Concat:
    """Concatenate: ``outer`` times, a stretch of ``dims[i]·inner_bytes`` bytes of each input in turn.

    v3 copies the inputs one behind the other (outer 1, inner_bytes 1). ``quantised`` only tells v3's two codes apart.
    """

    sources: tuple[Range, ...]
    target: Range
    outer: int
    inner_bytes: int
    dims: tuple[int, ...]
    quantised: bool = False

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads."""
        return self.sources

    @property
    def outputs(self) -> tuple[Range, ...]:
        """What it writes."""
        return (self.target,)


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
class Unary(_Unary):
    """An element-wise float function by name ("abs", "exp", …)."""

    op: str


@dataclass(frozen=True)
class Transpose(_Unary):
    """Permute axes: ``target.shape[i] = source.shape[perm[i]]``."""

    perm: tuple[int, ...]


@dataclass(frozen=True)
class Slice(_Unary):
    """``target = source[begin:end:step]`` an axis."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    step: tuple[int, ...]
    masks: tuple[int, ...] = (0,) * 5
    """v4: begin, end, ellipsis, new axis, shrink axis; as in TensorFlow's StridedSlice."""


@dataclass(frozen=True)
class Conv2d(_Unary):
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


@dataclass(frozen=True)
class Unknown:
    """An operator we do not interpret, kept verbatim.

    Attributes:
        name: its name where it is known, else "".
        code: its number in the file.
        body: its bytes.
        sources, targets: its ranges where they are known.
    """

    name: str
    code: int
    body: bytes
    sources: tuple[Range, ...] = ()
    targets: tuple[Range, ...] = ()

    @property
    def inputs(self) -> tuple[Range, ...]:
        """What it reads, as far as known."""
        return self.sources

    @property
    def outputs(self) -> tuple[Range, ...]:
        """What it writes, as far as known."""
        return self.targets


Step = (
    KpuConv | Upload | Download | Copy | Convert | Dequantise | DequantiseV4 | DequantiseChannels | Quantise | QuantiseV4
    | Requantise | Lookup | Reduce | ReduceWindow | Pad | MatMul | FullyConnected | Flatten | Softmax
    | Logistic | L2Norm | Resize | AddPadding | RemovePadding | Concat | Binary | Unary | Transpose | Slice | Conv2d
    | Unknown
)  # fmt: skip
