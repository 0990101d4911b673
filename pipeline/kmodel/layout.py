"""What a convolution's registers must say, recomputed from its sizes.

Source: nncase v1.9.0 modules/k210/src/codegen/ops/kpu_conv2d.cpp:30-120 and runtime_op_utility.h:27-120.
"""

from __future__ import annotations

from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import KpuLayout
from pipeline.kmodel.registers import Registers

WEIGHT_BUFFER_BYTES: Final = 30_720
"""Weights the KPU holds at a time (kpu_conv2d.cpp:40)."""
MAX_LOADS: Final = 64
"""The register has 6 bits; nncase does not check."""


def weight_loads(registers: Registers) -> int:
    """Return how often the KPU must load weights for a layer: ⌈oc / n⌉, n = min(oc, ⌊30720 / bytes a channel⌋)."""
    per_channel = registers.weight_bytes // registers.out_channels
    at_once = min(registers.out_channels, WEIGHT_BUFFER_BYTES // per_channel)
    return -(-registers.out_channels // max(at_once, 1))


def _expected(r: Registers) -> dict[str, int]:
    per_channel = r.weight_bytes // r.out_channels
    at_once = min(r.out_channels, WEIGHT_BUFFER_BYTES // per_channel)
    source, target = KpuLayout.of_width(r.in_width), KpuLayout.of_width(r.out_width)
    pixels = r.out_width * r.out_height
    return {
        "out_channels_per_load_minus_1": at_once - 1,
        "load_time_minus_1": weight_loads(r) - 1,
        "para_size": at_once * per_channel,
        "row_switch": source.row_length,
        "channel_switch": source.row_length * r.in_height,
        "coef_group": source.group,
        "wb_row_switch": target.row_length,
        "wb_channel_switch": target.row_length * r.out_height,
        "wb_group": target.group,
        "channel_bytes_minus_1": pixels - 1,
        "dma_total_bytes_minus_1": pixels * r.out_channels - 1,
    }


def check_registers(conv: KpuConv, where: str) -> None:
    """Check a convolution's registers against its sizes.

    Raises:
        KmodelError: more weight loads than the KPU counts, sizes that its pool cannot give, or a register that says
            something else than its sizes ask for.
    """
    r = conv.registers
    loads = weight_loads(r)
    if loads > MAX_LOADS:
        raise KmodelError(
            f"its {r.weight_bytes} bytes of weights take {loads} loads; the KPU counts to {MAX_LOADS}",
            where=where,
            remedy="make the layer narrower: with 3×3 kernels, 512 inputs allow 384 outputs",
        )
    if r.depthwise and r.in_channels != r.out_channels:
        raise KmodelError(f"depthwise with {r.in_channels} inputs and {r.out_channels} outputs", where=where)
    stride = r.pool.stride
    if (r.out_width, r.out_height) != (r.in_width // stride, r.in_height // stride):
        raise KmodelError(
            f"{r.in_height}×{r.in_width} pixels become {r.out_height}×{r.out_width} behind {r.pool.name}", where=where
        )
    for name, value in _expected(r).items():
        if getattr(r, name) != value:
            raise KmodelError(f"the register {name} is {getattr(r, name)}; its sizes ask for {value}", where=where)
