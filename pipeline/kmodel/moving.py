"""Steps that move or requantise values: transfers, copies, crops, paddings, and the two ways over to uint8."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.kmodel.memory import Range


@dataclass(frozen=True)
class OneToOne:
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
class Upload(OneToOne):
    """Copy a dense uint8 N×C×H×W map (``source.shape``) into KPU memory's row layout."""


@dataclass(frozen=True)
class Download(OneToOne):
    """v5: copy a KPU map (``source.shape``) out of KPU memory's row layout to a dense uint8 one."""


@dataclass(frozen=True)
class Copy(OneToOne):
    """Copy a tensor; source and target may have different strides (v5)."""


@dataclass(frozen=True)
class Convert(OneToOne):
    """v5: change the element type."""


@dataclass(frozen=True)
class Dequantise(OneToOne):
    """v3, v5: ``x = q·scale + bias`` in float32."""

    scale: float
    bias: float


@dataclass(frozen=True)
class DequantiseV4(OneToOne):
    """v4: ``x = (q − zero_point)·(1/scale)``, the reciprocal rounded to float32 first."""

    zero_point: int
    scale: float


@dataclass(frozen=True)
class DequantiseChannels(OneToOne):
    """v3: ``x = q·scale[c] + bias[c]``; ``source.shape`` is (channels, elements a channel)."""

    scale_bias: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Quantise(OneToOne):
    """Float to uint8, clamped to 0…255.

    v3: ``q = round_half_away((x − bias)·(1/scale))``, ``scale`` the step and ``bias`` the real value of code 0.
    v5: ``q = round_half_even(x·scale + bias)``, ``scale`` the stored multiplier 1/step and ``bias`` the zero point.
    """

    scale: float
    bias: float


@dataclass(frozen=True)
class QuantiseV4(OneToOne):
    """v4: ``q = clamp(round_half_away(x·scale + zero_point))``."""

    zero_point: int
    scale: float


@dataclass(frozen=True)
class Requantise(OneToOne):
    """v3: ``y = table[q]``."""

    table: bytes


@dataclass(frozen=True)
class Pad(OneToOne):
    """Pad ``source.shape`` by (before, after, interior) an axis with ``value``; negative amounts crop.

    ``scalar_type`` is v4's type word, which nncase 0.2 does not set to the value's type (0 also for uint8).
    """

    paddings: tuple[tuple[int, int, int], ...]
    value: float
    mode: int = 0
    scalar_type: int = 0


@dataclass(frozen=True)
class Slice(OneToOne):
    """``target = source[begin:end:step]`` an axis."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    step: tuple[int, ...]
    masks: tuple[int, ...] = (0,) * 5
    """v4: begin, end, ellipsis, new axis, shrink axis; as in TensorFlow's StridedSlice."""


@dataclass(frozen=True)
class Transpose(OneToOne):
    """Permute axes: ``target.shape[i] = source.shape[perm[i]]``."""

    perm: tuple[int, ...]


@dataclass(frozen=True)
class Flatten(OneToOne):
    """v3, float: C×H×W (``source.shape``) to H×W×C order, as TensorFlow flattens."""


@dataclass(frozen=True)
class AddPadding(OneToOne):
    """v3: write ``channels`` uint8 values to KPU memory as 4×4 maps, each value in its map's first pixel."""

    channels: int


@dataclass(frozen=True)
class RemovePadding(OneToOne):
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
