"""quantise: weights that quantise well, as float TFLite; of two ways, the one with the better kmodel on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.build import build_kmodel
from pipeline.compiler.environment import find_nncase
from pipeline.errors import ToolError
from pipeline.evaluation.metrics import judge
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import simulate
from pipeline.network.contract import InputContract, read_contract
from pipeline.network.read import load_onnx
from pipeline.quantisation.quantise import Candidate, quantise
from pipeline.quantisation.settings import Settings
from pipeline.recipe import Quantise
from pipeline.stages.layout import Run
from pipeline.stages.target import target_version
from pipeline.training.data.load import calibration_images, load_training
from pipeline.training.data.sets import DataSet


def run(run: Run) -> int:
    """Write ``network.tflite``: equalised weights (PTQ), or weights trained in the KPU's scheme (QAT)."""
    recipe, settings = run.recipe, run.chosen().quantise
    path = run.made_by("replace", "network.onnx")
    model = load_onnx(path)
    contract = read_contract(model, where=str(path))
    data = load_training(recipe.data, recipe.seed, run.root)
    calibration = calibration_images(data, recipe.seed, settings.calibration.images)
    made = quantise(
        model,
        contract,
        calibration,
        train=data.train,
        validation=data.validation,
        settings=_settings(settings, recipe.seed),
    )
    candidates = [
        candidate
        for candidate in (made.ptq, made.qat)
        if candidate is not None and settings.method in ("auto", candidate.method)
    ]
    if not candidates:
        raise ToolError(
            "quantisation-aware training diverged",
            where=str(path),
            remedy="lower finetune.lr, or method: auto",
        )
    nncase, version = find_nncase(run.root), target_version(run)
    scores = {
        candidate.method: _kmodel_accuracy(candidate, calibration, contract, version, data.validation, nncase)
        for candidate in candidates
    }
    # Of equals the first: plain quantisation, which needs no training.
    kept = max(candidates, key=lambda candidate: scores[candidate.method])
    run.write_results(
        "quantise",
        files={"network.tflite": kept.tflite},
        metrics={
            "validation_accuracy": scores[kept.method],
            **{f"validation_accuracy_{method}": score for method, score in scores.items()},
        },
        report={"kept": kept.method, "why": _why(kept.method, scores, settings), **made.report},
    )
    return 0


def _settings(settings: Quantise, seed: int) -> Settings:
    if settings.finetune is None or settings.method == "ptq":
        return Settings(epochs=0, seed=seed)
    return Settings(epochs=settings.finetune.epochs, lr=settings.finetune.lr, seed=seed)


def _kmodel_accuracy(
    candidate: Candidate,
    calibration: NDArray[np.uint8],
    contract: InputContract,
    version: int,
    validation: DataSet,
    nncase: Path,
) -> float:
    """The accuracy of the candidate's kmodel on validation images, bit for bit."""
    where = f"{candidate.method} candidate"
    built = build_kmodel(candidate.tflite, calibration, contract, version, nncase_python=nncase, where=where)
    scores = simulate(read(built.kmodel, where=where), validation.images)[0]
    return judge(scores.astype(np.float32).reshape(len(validation), -1), validation.labels).accuracy


def _why(kept: str, scores: dict[str, float], settings: Quantise) -> str:
    if len(scores) == 1:
        return f"the recipe asks for {kept}" if settings.method == kept else f"only {kept} could be made"
    compared = ", ".join(f"{method} {score:.2%}" for method, score in scores.items())
    return f"{kept} has the better kmodel on validation images ({compared}; ptq where equal)"
