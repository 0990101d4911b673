"""The steps of a kmodel's program.

Every step has ``inputs`` and ``outputs`` (ranges). Shapes are outermost first. An operator whose arithmetic differs
between versions says so; the version is ``Kmodel.version``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from pipeline.kmodel.computing import (
    UNBOUNDED,
    Binary,
    Conv2d,
    FullyConnected,
    FullyConnectedActivation,
    L2Norm,
    Logistic,
    Lookup,
    MatMul,
    Pair,
    QuantisedBinary,
    Reduce,
    ReduceOp,
    ReduceWindow,
    Resize,
    ResizeMode,
    Softmax,
    Unary,
)
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import Range
from pipeline.kmodel.moving import (
    AddPadding,
    Concat,
    Convert,
    Copy,
    Dequantise,
    DequantiseChannels,
    DequantiseV4,
    Download,
    Flatten,
    OneToOne,
    Pad,
    Quantise,
    QuantiseV4,
    RemovePadding,
    Requantise,
    Slice,
    Transpose,
    Upload,
)

__all__ = [
    "UNBOUNDED",
    "AddPadding",
    "Binary",
    "Concat",
    "Conv2d",
    "Convert",
    "Copy",
    "Dequantise",
    "DequantiseChannels",
    "DequantiseV4",
    "Download",
    "Flatten",
    "FullyConnected",
    "FullyConnectedActivation",
    "KpuConv",
    "L2Norm",
    "Logistic",
    "Lookup",
    "MatMul",
    "OneToOne",
    "Pad",
    "Pair",
    "Quantise",
    "QuantiseV4",
    "QuantisedBinary",
    "Reduce",
    "ReduceOp",
    "ReduceWindow",
    "RemovePadding",
    "Requantise",
    "Resize",
    "ResizeMode",
    "Slice",
    "Softmax",
    "Step",
    "Transpose",
    "Unary",
    "Unknown",
    "Upload",
    "map_ranges",
]


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
    KpuConv | Upload | Download | Copy | Convert | Dequantise | DequantiseV4 | DequantiseChannels | Quantise
    | QuantiseV4 | Requantise | Lookup | Reduce | ReduceWindow | Pad | MatMul | FullyConnected | Flatten | Softmax
    | Logistic | L2Norm | Resize | AddPadding | RemovePadding | Concat | Binary | Unary | Transpose | Slice | Conv2d
    | Unknown
)  # fmt: skip


def map_ranges(step: Step, change: Callable[[Range], Range]) -> Step:
    """Return a step with every one of its ranges changed."""
    changed: dict[str, Range | tuple[Range, ...]] = {}
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, Range):
            changed[field.name] = change(value)
        elif isinstance(value, tuple) and any(isinstance(item, Range) for item in value):
            changed[field.name] = tuple(change(item) for item in value)
    return replace(step, **changed)  # type: ignore[arg-type]
