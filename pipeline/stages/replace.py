"""replace: what the KPU cannot run becomes 1×1 and 3×3 convolutions, exactly or learned."""

from __future__ import annotations

from pipeline.kmodel.identify import NNCASE_VERSION
from pipeline.network.weights import parameters
from pipeline.replacement.apply import replace_network
from pipeline.stages.layout import Run
from pipeline.stages.networks import Network, load_network, onnx_bytes
from pipeline.stages.target import target_version
from pipeline.training.data.load import calibration_images, load_training


def run(run: Run) -> int:
    """Write ``network.onnx``, which the KPU can run, and what was tried on each layer."""
    recipe, chosen = run.recipe, run.chosen()
    pruned = load_network(run.made_by("prune", "network.onnx"))
    data = load_training(recipe.data, recipe.seed, run.root)
    replaced = replace_network(
        pruned.graph,
        pruned.contract,
        calibration_images(data, recipe.seed, chosen.quantise.calibration.images),
        data.train,
        data.validation,
        chosen.replace,
        seed=recipe.seed,
        must_replace=target_version(run) != NNCASE_VERSION,  # what was transcoded holds few CPU layers
    )
    run.write_results(
        "replace",
        files={"network.onnx": onnx_bytes(Network(replaced.network, replaced.contract), replaced.report.layers)},
        metrics={
            "validation_accuracy": replaced.report.accuracy.after,
            "validation_accuracy_before": replaced.report.accuracy.before,
            "parameters": parameters(replaced.network),
        },
        report=replaced.report.as_dict(),
    )
    return 0
