"""What a chain of layers will take of the kmodel and of the KPU's time, by the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from pipeline.kpu.prediction import predict
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx


@dataclass(frozen=True)
class Cost:
    """What layers take.

    Attributes:
        kmodel_bytes: of a kmodel v5, code and padding included, without the file's own header.
        cycles: of the KPU at its clock; what runs on the CPU takes none.
        cpu: the layers that the CPU would do.
        heap_bytes: main memory beside the kmodel.
        kpu_bytes: peak of feature maps in the KPU's memory.
    """

    kmodel_bytes: int
    cycles: int
    cpu: tuple[str, ...]
    heap_bytes: int
    kpu_bytes: int

    @property
    def main_bytes(self) -> int:
        """Main memory: the kmodel and what it needs beside it."""
        return self.kmodel_bytes + self.heap_bytes


def chain_cost(chain: nn.Sequential, shape: Sequence[int]) -> Cost:
    """Return the cost of layers in a row; see `part_cost`."""
    return part_cost(chain, shape)


def part_cost(network: nn.Module, shape: Sequence[int], *, float_output: bool = True) -> Cost:
    """Return the cost of a part of a network on a map of ``shape`` (C×H×W), as a network of its own.

    Args:
        network: the part.
        shape: of what it reads.
        float_output: whether what it gives is wanted in float32; else in uint8, as the KPU passes it on.

    Raises:
        NetworkError: a layer has no form in ONNX.
    """
    channels, height, width = shape
    contract = InputContract((channels, height, width), (0.0,) * channels, (1.0,) * channels)
    predicted = predict(to_onnx(network, contract), float_output=float_output)
    return Cost(
        kmodel_bytes=sum(part.size for part in predicted.parts if part.layer),
        cycles=sum(layer.cycles or 0 for layer in predicted.layers),
        cpu=tuple(layer.name for layer in predicted.layers if layer.unit == "cpu"),
        heap_bytes=predicted.heap_bytes,
        kpu_bytes=predicted.kpu_bytes,
    )
