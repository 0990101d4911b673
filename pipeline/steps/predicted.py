"""What a network's kmodel will need once everything that the KPU cannot run is replaced."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from torch import fx, nn

from pipeline.kpu.prediction import Prediction, predict, predict_kmodel_bytes
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.recipe import Replace
from pipeline.replacement.plan import structure


def predicted(network: nn.Module, contract: InputContract, version: int, settings: Replace | None = None) -> Prediction:
    """Return the prediction for a network as it will be after ``replace``, in a version of the format.

    Raises:
        NetworkError: the network has not one input of fixed size.
        RecipeError: ``settings`` prefer a rule that there is not.
    """
    return predict(as_replaced(network, contract, settings), version)


def predicted_bytes(
    network: nn.Module, contract: InputContract, versions: Sequence[int], settings: Replace | None = None
) -> int:
    """Return the bytes of the largest of a network's kmodels in some versions of the format, after ``replace``."""
    model = as_replaced(network, contract, settings)
    return max(predict_kmodel_bytes(model, version) for version in versions)


def as_replaced(network: nn.Module, contract: InputContract, settings: Replace | None = None) -> onnx.ModelProto:
    """Return a network after every replacement, none of them fitted."""
    graph = network if isinstance(network, fx.GraphModule) else trace(network)
    return to_onnx(structure(graph, contract, settings), contract)
