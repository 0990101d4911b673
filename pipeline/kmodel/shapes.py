"""Shapes that a v3 or v4 file leaves out: its element-wise operators only give a count or a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.kmodel.memory import Location, Range
from pipeline.kmodel.steps import (
    Copy,
    Dequantise,
    DequantiseV4,
    Logistic,
    Quantise,
    QuantiseV4,
    Requantise,
    Step,
    Unary,
)

_ELEMENTWISE = (Copy, Dequantise, DequantiseV4, Logistic, Quantise, QuantiseV4, Requantise, Unary)


def with_shapes(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps with element-wise ones given the shape of what was last written to their source.

    Where that is not known, or counts other elements, the shape is (elements,).
    """
    written: dict[int, Range] = {}
    shaped: list[Step] = []
    for step in steps:
        shaped.append(_shape(step, written))
        written.update({r.start: r for r in shaped[-1].outputs if r.location is Location.MAIN})
    return tuple(shaped)


def _shape(step: Step, written: dict[int, Range]) -> Step:
    if not isinstance(step, _ELEMENTWISE) or step.source.elements != step.target.elements:
        return step
    shape: tuple[int, ...] = (step.source.elements,)
    before = written.get(step.source.start)
    if before is not None and before.elements == step.source.elements and before.shape:
        shape = before.shape
    return replace(step, source=replace(step.source, shape=shape), target=replace(step.target, shape=shape))
