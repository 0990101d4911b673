"""What a case of the conformance suite is, and the rows of kpu.md §3 that the cases cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import onnx
from conformance_graph import Graph


class Row(StrEnum):
    """The rows of the table in kpu.md §3, by the text of their first column; NONE: a case of no row."""

    CONV = "conv 3×3 / 1×1, stride 1 or 2 (pad 1,1,1,1, even size) + Clip/Leaky/…"
    CPU_CONV = "conv 5×5, 7×7, 1×3, 3×1, 2×2, grouped, depthwise 5×5, stride 3, dilated + stride 2"
    DILATED = "dilated 3×3, stride 1"
    MULTIPLIER = "depthwise with multiplier (groups = C_in, C_out ≠ C_in)"
    RELU = "`Relu` right after conv"
    ACTIVATION = "Relu6 / Clip / LeakyReLU / Sigmoid / Tanh / SiLU / HardSwish / HardSigmoid / ELU / Mish after conv"
    NON_MONOTONIC = "…but a non-monotonic one (SiLU, HardSwish)"
    PRELU = "PRelu"
    CLIP_ELSEWHERE = "Clip anywhere but after a conv (after concat, resize, pool, Gemm, input)"
    ACT_AFTER_POOL = "conv → fused pool → Relu/Clip/Leaky"
    ADD = "residual Add (4-D, same shape)"
    FLOAT = "concat, nearest resize, global average pool, softmax"
    HEAD = "Gemm, MatMul or 1×1 conv after a global pool, K ≤ 1024"
    SQUEEZE = "squeeze-and-excitation (1×1-spatial conv + sigmoid)"
    CPU_POOL = "max-pool 3×3 s2, pool after depthwise, pool with two consumers"
    ODD_STRIDE = 'stride 2 on odd size, or TF "SAME" pads 0,0,1,1'
    TRANSPOSED = "ConvTranspose 3×3 s2"
    WIDE = "C_out > 1024"
    BATCH_NORM = "BatchNormalization"
    SPLIT = "Split feeding a conv"
    KPU_RAM = "16 channels at 240×320, stride 1"
    HALF_PIXEL = "linear Resize with half_pixel"
    NONE = ""


@dataclass(frozen=True)
class Case:
    """One network of the suite.

    Attributes:
        name: unique, and fit for a file name.
        graph: builds it.
        row: of kpu.md §3 that it is an example of.
    """

    name: str
    graph: Callable[[], Graph]
    row: Row = Row.NONE

    def build(self) -> onnx.ModelProto:
        """Return the network."""
        return self.graph().model()
