"""A classifier's head in float: global average pool, then a fully connected layer, on the CPU.

Written behind the uint8 output of the last KPU convolution of the backbone. Both kmodel v3 and v4 run it, and it is
closer to the float network than the quantised 1×1 convolution that nncase 1.9 makes of it (measured with nncase
1.9.0.20230322: error 0.027 against 0.087).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.errors import KmodelError
from pipeline.kmodel.check import step_name
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.parts import main_range
from pipeline.kmodel.steps import (
    Dequantise,
    FullyConnected,
    FullyConnectedActivation,
    MatMul,
    Pad,
    Reduce,
    Step,
)
from pipeline.kmodel.v4_nodes import HIGHEST, LOWEST

ALIGNMENT = 8
"""Of every buffer in general SRAM."""


@dataclass(frozen=True)
class Quant:
    """What a uint8 code means: real = (code − zero_point) · scale."""

    scale: float
    zero_point: int

    @property
    def bias(self) -> float:
        """The real value of code 0, as float32: real = code · scale + bias (the form of kmodel v3 and v5)."""
        return float(np.float32(-self.zero_point * self.scale))


@dataclass(frozen=True, eq=False)
class Head:
    """A float head.

    Attributes:
        weight: out × in.
        bias: out values.
        pool: whether a global average pool comes first; else the map is flattened channel by channel (C, H, W).
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    pool: bool = True

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise KmodelError(
                f"a head of weights {self.weight.shape} and bias {self.bias.shape}; out × in and out wanted"
            )
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise KmodelError("a head with weights that are not finite")

    def inputs_of(self, features: Range) -> int:
        """Return how many values it would take from a map: its channels when pooled, else all its pixels."""
        return features.shape[1] if self.pool else features.elements


@dataclass(frozen=True)
class Backbone:
    """A program up to the last KPU convolution before the head.

    Attributes:
        steps: what is kept.
        features: the uint8 map that the head reads.
        dropped: how many steps of the model's own head were left out.
        quant: what the features' codes mean, from the model's own dequantisation; None when it has none.
    """

    steps: tuple[Step, ...]
    features: Range
    dropped: int
    quant: tuple[float, float] | None


def whole_backbone(steps: Sequence[Step], outputs: Sequence[Range]) -> Backbone | None:
    """Return a model without a head of its own: its one output is the uint8 result of a KPU convolution."""
    if len(outputs) != 1:
        raise KmodelError(f"one output can be taken further; the model has {len(outputs)}")
    features = _written_by_convolution(steps, outputs[0])
    return None if features is None else Backbone(tuple(steps), features, 0, None)


def find_backbone(steps: Sequence[Step], outputs: Sequence[Range], head: Head) -> Backbone:
    """Find where a model's own head begins, which a float head is to replace.

    A model whose uint8 output a KPU convolution writes has none. Otherwise it begins at a dequantisation of a
    convolution's result that has as many values as the head takes: the last one before a global average pool, or the
    first behind which only a head can come (nncase makes a fully connected layer a padding and one convolution on a
    4×4 map).

    Raises:
        KmodelError: no such place.
    """
    whole = whole_backbone(steps, outputs)
    if whole is not None:
        return whole
    starts = [index for index in range(len(steps)) if _begins_head(steps, index)]
    pooled = [index for index in starts if head.pool and _feeds_pool(steps, index)]
    for index in (*reversed(pooled), *starts):
        dequantise = steps[index]
        if not isinstance(dequantise, Dequantise):
            continue
        features = _written_by_convolution(steps[:index], dequantise.source)
        if features is not None and head.weight.shape[1] == head.inputs_of(features):
            quant = (dequantise.scale, dequantise.bias)
            return Backbone(tuple(steps[:index]), features, len(steps) - index, quant)
    raise KmodelError(
        f"cannot tell where the model's own head begins: nothing at its end dequantises a convolution's result "
        f"that gives the {head.weight.shape[1]} values which the head takes",
        remedy="compile the backbone alone, with a uint8 output, and give a head that fits it",
    )


def _same(a: Range, b: Range) -> bool:
    return (a.location, a.start, a.size) == (b.location, b.start, b.size)


def _feeds_pool(steps: Sequence[Step], index: int) -> bool:
    following = steps[index + 1 : index + 2]
    return any(isinstance(step, Reduce) and step.op == "mean" and step.axes == (2, 3) for step in following)


def _begins_head(steps: Sequence[Step], index: int) -> bool:
    """Whether only a head can follow: no KPU convolution but one on a 4×4 map that was padded."""
    rest = steps[index:]
    convolutions = [step for step in rest if isinstance(step, KpuConv)]
    padded = any(isinstance(step, Pad) for step in rest)
    return (
        isinstance(steps[index], Dequantise)
        and len(convolutions) <= int(padded)
        and all(step.source.shape[2:] == (4, 4) for step in convolutions)
    )


def _written_by_convolution(steps: Sequence[Step], wanted: Range) -> Range | None:
    for step in reversed(steps):
        if isinstance(step, KpuConv) and step.main_output is not None and _same(step.main_output, wanted):
            return step.main_output
    return None


def first_fit(size: int, live: Sequence[Range]) -> int:
    """Return the lowest 8-aligned byte at which ``size`` bytes overlap none of the live ranges."""
    start = 0
    for r in sorted(live, key=lambda r: r.start):
        if start + size <= r.start:
            break
        start = max(start, -(-r.end // ALIGNMENT) * ALIGNMENT)
    return start


@dataclass(frozen=True)
class WithHead:
    """A program with a float head: its steps, constants and output."""

    steps: tuple[Step, ...]
    constants: bytes
    output: Range


def attach(backbone: Backbone, head: Head, quant: tuple[float, float], constants: bytes, to: int) -> WithHead:
    """Write a head behind a backbone.

    The feature map keeps its place in general SRAM, or goes to its start when it was the caller's output; everything
    else there is dead by then, so the head's buffers take the lowest free bytes.

    Args:
        backbone: the program before.
        head: the layers to write.
        quant: scale and bias of the features (real = code · scale + bias).
        constants: the program's constants, to which v4's weights are added.
        to: 3 or 4.

    Raises:
        KmodelError: the head takes another number of values than the backbone gives.
    """
    channels, height, width = backbone.features.shape[1:]
    inputs = head.inputs_of(backbone.features)
    if head.weight.shape[1] != inputs:
        raise KmodelError(
            f"the head takes {head.weight.shape[1]} values, the backbone gives {inputs} "
            f"({channels}×{height}×{width}{', pooled' if head.pool else ''})",
            remedy="cut the network where the head begins",
        )
    steps, codes = features_in_main(backbone)
    shape = (1, channels, height, width)
    size = 4 * math.prod(shape)
    real = main_range(DType.FLOAT32, first_fit(size, [codes]), shape)
    steps.append(Dequantise(codes, real, *quant))
    if head.pool:
        pooled = main_range(DType.FLOAT32, first_fit(4 * channels, [real]), (1, channels, 1, 1))
        steps.append(Reduce(real, pooled, "mean", (2, 3)))
        real = pooled
    classes = head.weight.shape[0]
    output = main_range(DType.FLOAT32, first_fit(4 * classes, [real]), (1, classes))
    vector = replace(real, shape=(1, inputs))
    weight, bias = head.weight.astype("<f4"), head.bias.astype("<f4").tobytes()
    if to == 3:
        steps.append(FullyConnected(vector, output, FullyConnectedActivation.LINEAR, weight.tobytes(), bias))
        return WithHead(tuple(steps), constants, output)
    matrix = Range(Location.CONST, DType.FLOAT32, len(constants), weight.nbytes, (inputs, classes))
    steps.append(MatMul(vector, matrix, output, bias, (LOWEST, HIGHEST)))
    return WithHead(tuple(steps), constants + np.ascontiguousarray(weight.T).tobytes(), output)


def features_in_main(backbone: Backbone) -> tuple[list[Step], Range]:
    """Return the steps with the feature map in general SRAM, where the head reads it."""
    features = backbone.features
    if features.location is Location.MAIN:
        return list(backbone.steps), features
    moved = replace(features, location=Location.MAIN, start=0)
    steps: list[Step] = []
    for step in backbone.steps:
        if isinstance(step, KpuConv) and step.main_output == features:
            steps.append(replace(step, main_output=moved))
        elif features in step.inputs or features in step.outputs:
            raise KmodelError(f"{step_name(len(steps), step)} also uses the output that the head is to read")
        else:
            steps.append(step)
    return steps, moved
