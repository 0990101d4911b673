"""prune: channels removed, group by group, until the predicted kmodel meets the budget; then distillation."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.firmware.budget import kmodel_budget
from pipeline.kpu.prediction import Prediction
from pipeline.network.weights import parameters
from pipeline.stages.layout import Run
from pipeline.stages.networks import Network, load_network, onnx_bytes
from pipeline.stages.target import target_profile, target_version
from pipeline.steps.predicted import predicted
from pipeline.steps.prune import prune
from pipeline.training.accuracy import accuracy
from pipeline.training.data.load import load_training


def run(run: Run) -> int:
    """Write ``network.onnx``, pruned and fine-tuned, or unchanged where the recipe prunes nothing."""
    recipe, chosen = run.recipe, run.chosen()
    trained = load_network(run.made_by("train", "network.onnx"))
    data = load_training(recipe.data, recipe.seed, run.root)
    version = target_version(run)
    pruned = prune(
        trained.graph,
        trained.contract,
        data,
        chosen.prune,
        replace=chosen.replace,
        train=recipe.train,
        budget=kmodel_budget(target_profile(run), recipe.target),
        seed=recipe.seed,
    )
    before = predicted(trained.graph, trained.contract, version, chosen.replace)
    after = predicted(pruned.network, trained.contract, version, chosen.replace)
    result = pruned.result
    run.write_results(
        "prune",
        files={"network.onnx": onnx_bytes(Network(pruned.network, trained.contract))},
        metrics={
            "validation_accuracy": accuracy(pruned.network, data.validation, trained.contract),
            "parameters": parameters(pruned.network),
            "predicted_bytes_before": before.kmodel_bytes,
            "predicted_bytes": after.kmodel_bytes,
            "predicted_ms_before": _milliseconds(before),
            "predicted_ms": _milliseconds(after),
            "budget_bytes": pruned.budget,
        },
        report={
            "kmodel_version": version,
            "groups": [asdict(change) for change in result.changes] if result else [],
            "reached": result.reached if result else True,
            "ratio": result.ratio if result else 0.0,
        },
    )
    return 0


def _milliseconds(prediction: Prediction) -> float:
    """Milliseconds of the KPU's part; 0 where nothing runs there."""
    return round(prediction.latency.milliseconds(), 3) if prediction.latency else 0.0
