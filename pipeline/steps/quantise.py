"""A network quantised as a recipe asks: of two ways, the one with the better kmodel on validation images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.compiler.build import build_kmodel
from pipeline.errors import ToolError
from pipeline.evaluation.metrics import judge
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import simulate
from pipeline.network.contract import InputContract
from pipeline.quantisation.quantise import Candidate, note_on_stderr
from pipeline.quantisation.quantise import quantise as candidates_of
from pipeline.quantisation.settings import Settings
from pipeline.recipe import Quantise
from pipeline.training.data.sets import DataSet, Training


@dataclass(frozen=True)
class Quantised:
    """What quantisation came to.

    Attributes:
        kept: the better candidate.
        kmodel: the bytes of its kmodel.
        scores: accuracy of each candidate's kmodel on validation images, by method.
        report: what was done, layer by layer, ready for JSON.
    """

    kept: Candidate
    kmodel: bytes
    scores: Mapping[str, float]
    report: dict[str, Any]


def quantise(
    model: onnx.ModelProto,
    contract: InputContract,
    calibration: NDArray[np.uint8],
    data: Training,
    settings: Quantise,
    *,
    version: int,
    nncase: Path,
    seed: int,
    where: str,
    threads: int = 0,
    notify: Callable[[str], None] = note_on_stderr,
) -> Quantised:
    """Quantise a network every way that the recipe allows, and keep the one with the better kmodel.

    Args:
        model: after ``replace``.
        contract: its input.
        calibration: uint8 N×C×H×W, training images.
        data: what is learnt from, and judged on.
        settings: the recipe's.
        version: of the kmodel.
        nncase: its interpreter.
        seed: of the order of images.
        where: the network's file, for messages.
        threads: that TensorFlow computes with; 0 for one a core.
        notify: called with each line of progress.

    Raises:
        ToolError: quantisation-aware training diverged and nothing else was asked for; a tool failed.
        NetworkError: weights that are not finite; an operator that cannot be carried.
    """
    made = candidates_of(
        model,
        contract,
        calibration,
        train=data.train,
        validation=data.validation,
        settings=_settings(settings, seed, threads),
        notify=notify,
    )
    candidates = [
        candidate
        for candidate in (made.ptq, made.qat)
        if candidate is not None and settings.method in ("auto", candidate.method)
    ]
    if not candidates:
        raise ToolError(
            "quantisation-aware training diverged", where=where, remedy="lower finetune.lr, or method: auto"
        )
    kmodels = {
        candidate.method: build_kmodel(
            candidate.tflite,
            calibration,
            contract,
            version,
            nncase_python=nncase,
            where=f"{candidate.method} candidate",
        ).kmodel
        for candidate in candidates
    }
    scores = {method: kmodel_accuracy(kmodel, data.validation, method) for method, kmodel in kmodels.items()}
    # Of equals the first: plain quantisation, which needs no training.
    kept = max(candidates, key=lambda candidate: scores[candidate.method])
    return Quantised(kept, kmodels[kept.method], scores, made.report)


def kmodel_accuracy(kmodel: bytes, images: DataSet, where: str) -> float:
    """Return the fraction of ``images`` that a kmodel names correctly, computed bit for bit."""
    scores = simulate(read(kmodel, where=where), images.images)[0]
    return judge(scores.astype(np.float32).reshape(len(images), -1), images.labels).accuracy


def _settings(settings: Quantise, seed: int, threads: int) -> Settings:
    if settings.finetune is None or settings.method == "ptq":
        return Settings(epochs=0, seed=seed, threads=threads)
    return Settings(epochs=settings.finetune.epochs, lr=settings.finetune.lr, seed=seed, threads=threads)
