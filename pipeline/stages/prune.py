"""prune: channels removed, group by group, until the predicted kmodel meets the budget; then distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import onnx
from torch import fx, nn

from pipeline.firmware.budget import kmodel_budget
from pipeline.kpu.prediction import VERSIONS, predict, predict_kmodel_bytes
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.network.weights import parameters
from pipeline.pruning.prune import PruneSettings, prune_network
from pipeline.replacement.plan import structure
from pipeline.stages.layout import Run
from pipeline.stages.networks import Network, finetune_settings, load_network, onnx_bytes
from pipeline.stages.target import target_profile, target_version
from pipeline.training.accuracy import accuracy
from pipeline.training.data.load import load_training
from pipeline.training.loop import fit

#: The prediction is exact on the all-KPU networks that were compiled (tests/kpu); the margin is for all others.
_PREDICTION_MARGIN = 0.01


def run(run: Run) -> int:
    """Write ``network.onnx``, pruned and fine-tuned, or unchanged where the recipe prunes nothing."""
    recipe, settings = run.recipe, run.chosen().prune
    trained = load_network(run.made_by("train", "network.onnx"))
    data = load_training(recipe.data, recipe.seed, run.root)
    version = target_version(run)
    predict_bytes = partial(predicted_bytes, contract=trained.contract, versions=(version,))
    # Solved for the largest version, so that the same recipe gives the same network whatever the firmware loads.
    predict_largest = partial(predicted_bytes, contract=trained.contract, versions=VERSIONS)
    budget = kmodel_budget(target_profile(run), recipe.target)
    pruned, result = trained, None
    if settings is not None:
        budget = budget if settings.to_bytes == "auto" else settings.to_bytes
        how = PruneSettings(int(budget * (1 - _PREDICTION_MARGIN)), settings.importance)
        result = prune_network(trained.graph, data.train, trained.contract, how, predict_largest, seed=recipe.seed)
        pruned = Network(trace(result.network), trained.contract)
        if result.ratio > 0:
            teacher = trained.graph if settings.finetune.distil else None
            how_long = finetune_settings(settings.finetune, recipe.train)
            fit(pruned.graph, data.train, pruned.contract, how_long, seed=recipe.seed, teacher=teacher, title="prune")
    run.write_results(
        "prune",
        files={"network.onnx": onnx_bytes(pruned)},
        metrics={
            "validation_accuracy": accuracy(pruned.graph, data.validation, pruned.contract),
            "parameters": parameters(pruned.graph),
            "predicted_bytes_before": predict_bytes(trained.graph),
            "predicted_bytes": predict_bytes(pruned.graph),
            "predicted_ms_before": predicted_ms(trained.graph, trained.contract, version),
            "predicted_ms": predicted_ms(pruned.graph, pruned.contract, version),
            "budget_bytes": budget,
        },
        report={
            "kmodel_version": version,
            "groups": [asdict(change) for change in result.changes] if result else [],
            "reached": result.reached if result else True,
            "ratio": result.ratio if result else 0.0,
        },
    )
    return 0


def predicted_bytes(network: nn.Module, contract: InputContract, versions: Sequence[int]) -> int:
    """Bytes of the largest of a network's kmodels in some versions of the format, as it will be after ``replace``."""
    model = _as_replaced(network, contract)
    return max(predict_kmodel_bytes(model, version) for version in versions)


def predicted_ms(network: nn.Module, contract: InputContract, version: int) -> float:
    """Milliseconds of the KPU's part of a network as it will be after ``replace``; 0 where nothing runs there."""
    latency = predict(_as_replaced(network, contract), version).latency
    return round(latency.milliseconds(), 3) if latency else 0.0


def _as_replaced(network: nn.Module, contract: InputContract) -> onnx.ModelProto:
    graph = network if isinstance(network, fx.GraphModule) else trace(network)
    return to_onnx(structure(graph, contract), contract)
