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
    """

    kmodel_bytes: int
    cycles: int
    cpu: tuple[str, ...]


def chain_cost(chain: nn.Sequential, shape: Sequence[int]) -> Cost:
    """Return the cost of ``chain`` on a map of ``shape`` (C×H×W), as a network of its own.

    Raises:
        NetworkError: a layer has no form in ONNX.
    """
    channels, height, width = shape
    contract = InputContract((channels, height, width), (0.0,) * channels, (1.0,) * channels)
    predicted = predict(to_onnx(chain, contract))
    return Cost(
        kmodel_bytes=sum(part.size for part in predicted.parts if part.layer),
        cycles=sum(layer.cycles or 0 for layer in predicted.layers),
        cpu=tuple(layer.name for layer in predicted.layers if layer.unit == "cpu"),
    )
