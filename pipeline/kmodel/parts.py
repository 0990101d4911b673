"""What every reader does alike: building a convolution from its parts, and counting bytes by purpose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import ACTIVATION_BYTES, Activation, BatchNorm, KpuConv
from pipeline.kmodel.memory import KPU_MEMORY_BYTES, DType, Location, Range, kpu_bytes
from pipeline.kmodel.model import Bytes
from pipeline.kmodel.registers import ROW_BYTES, Registers


def kpu_map(start: int, channels: int, height: int, width: int, where: str, batches: int = 1) -> Range:
    """Return the KPU range of a uint8 map. Raises KmodelError when it does not fit feature-map memory."""
    size = kpu_bytes(channels, height, width) * batches
    if start + size > KPU_MEMORY_BYTES:
        raise KmodelError(
            f"{where}: a {channels}×{height}×{width} map at byte {start} of feature-map memory ends behind its "
            f"{KPU_MEMORY_BYTES} bytes"
        )
    return Range(Location.KPU, DType.UINT8, start, size, (batches, channels, height, width))


def main_range(dtype: DType, start: int, shape: tuple[int, ...]) -> Range:
    """Return the dense range of a tensor in general SRAM."""
    return Range(Location.MAIN, dtype, start, dtype.itemsize * math.prod(shape), shape)


def convolution(
    registers: Registers,
    weights: bytes,
    batch_norm: bytes,
    activation: bytes,
    main_output: Range | None,
    batches: int,
    name: str,
) -> KpuConv:
    """Put a convolution together and check that its parts fit each other.

    Raises:
        KmodelError: the weights, batch-norm or activation have other sizes than the registers say, or a map does not
            fit feature-map memory.
    """
    r = registers
    sizes = {
        "weights": (len(weights), r.weight_bytes),
        "batch-norm": (len(batch_norm), 8 * r.out_channels),
        "activation": (len(activation), ACTIVATION_BYTES),
    }
    for part, (given, needed) in sizes.items():
        if given != needed:
            raise KmodelError(f"{name}: {given} bytes of {part}, but its registers ask for {needed}")
    source = kpu_map(r.src_address * ROW_BYTES, r.in_channels, r.in_height, r.in_width, name, batches)
    target = kpu_map(r.dst_address * ROW_BYTES, r.out_channels, r.out_height, r.out_width, name, batches)
    return KpuConv(
        r, weights, BatchNorm(batch_norm), Activation(activation), source, target, main_output, batches, name
    )


@dataclass
class Tally:
    """Bytes counted by purpose while reading."""

    header: int = 0
    weights: int = 0
    batch_norm: int = 0
    activation: int = 0
    code: int = 0
    constants: int = 0
    padding: int = 0
    trailing: int = 0

    def add(self, conv: KpuConv) -> None:
        """Count a convolution's tables (not its registers)."""
        self.weights += len(conv.weights)
        self.batch_norm += len(conv.batch_norm.words)
        self.activation += ACTIVATION_BYTES

    def total(self, size: int) -> Bytes:
        """Return the sums, with the padding such that they make ``size``."""
        counted = Bytes(**vars(self))
        rest = size - counted.total
        if rest < 0:
            raise KmodelError(f"its parts overlap: they claim {-rest} bytes more than the file has")
        return Bytes(**{**vars(self), "padding": self.padding + rest})
