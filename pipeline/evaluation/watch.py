"""A kmodel that also gives out the codes behind its convolutions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import DType, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.parts import main_range
from pipeline.kmodel.steps import Download, Step

_ALIGNMENT = 8


def watched(kmodel: Kmodel, convolutions: Collection[int]) -> Kmodel:
    """Return a kmodel whose first outputs are the maps of some of its convolutions, uint8 N×C×H×W, in their order.

    Its own outputs come behind them, and it computes what it did before: each map is copied behind all memory that the
    program uses. Only for the simulator; no file is written of it.

    Args:
        kmodel: of any version.
        convolutions: which, by their place in ``kmodel.convolutions``.
    """
    steps: list[Step] = []
    outputs: list[Range] = []
    free, seen = _aligned(kmodel.main_bytes), 0
    for step in kmodel.steps:
        steps.append(step)
        if not isinstance(step, KpuConv):
            continue
        if seen in convolutions:
            copy = main_range(DType.UINT8, free, step.target.shape)
            steps.append(Download(step.target, copy))
            outputs.append(copy)
            free = _aligned(copy.end)
        seen += 1
    return replace(kmodel, steps=tuple(steps), outputs=(*outputs, *kmodel.outputs), main_bytes=free)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
