"""quantise: weights that quantise well, as float TFLite; of two ways, the one with the better kmodel on validation."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.compiler.environment import find_nncase
from pipeline.network.contract import read_contract
from pipeline.network.read import load_onnx
from pipeline.recipe import Quantise
from pipeline.stages.layout import Run
from pipeline.stages.target import target_version
from pipeline.steps.quantise import quantise
from pipeline.training.data.load import calibration_images, load_training


def run(run: Run) -> int:
    """Write ``network.tflite``: equalised weights (PTQ), or weights trained in the KPU's scheme (QAT)."""
    recipe, settings = run.recipe, run.chosen().quantise
    path = run.made_by("replace", "network.onnx")
    model = load_onnx(path)
    data = load_training(recipe.data, recipe.seed, run.root)
    made = quantise(
        model,
        read_contract(model, where=str(path)),
        calibration_images(data, recipe.seed, settings.calibration.images),
        data,
        settings,
        version=target_version(run),
        nncase=find_nncase(run.root),
        seed=recipe.seed,
        where=str(path),
    )
    kept = made.kept.method
    run.write_results(
        "quantise",
        files={"network.tflite": made.kept.tflite},
        metrics={
            "validation_accuracy": made.scores[kept],
            **{f"validation_accuracy_{method}": score for method, score in made.scores.items()},
        },
        report={"kept": kept, "why": _why(kept, made.scores, settings), **made.report},
    )
    return 0


def _why(kept: str, scores: Mapping[str, float], settings: Quantise) -> str:
    if len(scores) == 1:
        return f"the recipe asks for {kept}" if settings.method == kept else f"only {kept} could be made"
    compared = ", ".join(f"{method} {score:.2%}" for method, score in scores.items())
    return f"{kept} has the better kmodel on validation images ({compared}; ptq where equal)"
