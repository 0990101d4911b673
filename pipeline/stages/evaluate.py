"""evaluate: the accuracy of every form of the network, and above all of the kmodel, on the test images.

The only stage that reads test images; nothing is decided by them but the gate's verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from csv import DictWriter
from dataclasses import asdict
from io import StringIO

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.environment import find_nncase
from pipeline.compiler.simulate import nncase_simulate
from pipeline.evaluation.agreement import compare
from pipeline.evaluation.crosscheck import CrossCheck, cross_check
from pipeline.evaluation.layer_error import LayerError, convolution_names, layer_errors
from pipeline.evaluation.metrics import judge, predictions
from pipeline.evaluation.mistakes import mistakes
from pipeline.evaluation.plots import class_rows, confusion_rows, error_rows
from pipeline.evaluation.tflite import tflite_scores
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import prepare, run_program
from pipeline.network.contract import read_contract
from pipeline.network.read import load_onnx
from pipeline.progress import track
from pipeline.stages.layout import Run
from pipeline.stages.networks import load_network
from pipeline.training.accuracy import predict
from pipeline.training.data.heldout import load_test

_FLOAT_STAGES = ("train", "prune", "replace")
_BATCH = 256
_CROSS_CHECKED = 32  # images that nncase's Simulator, many times slower, runs too
_LAYER_IMAGES = 64  # images by which each layer's error is measured: it hardly changes with more


def run(run: Run) -> int:
    """Write accuracies and confusion on all test images, each layer's error, and images that are now wrong."""
    labels = run.recipe.data.labels
    test = load_test(run.recipe.data, run.recipe.seed, run.root)
    scores = {stage: _float_scores(run, stage, test.images) for stage in _FLOAT_STAGES}
    model = load_onnx(run.made_by("replace", "network.onnx"))
    contract = read_contract(model)
    tflite = run.made_by("quantise", "network.tflite").read_bytes()
    scores["quantise"] = tflite_scores(tflite, test.images, contract)
    path = run.made_by("convert", "network.kmodel")
    shipped = read(path.read_bytes(), where=str(path))
    checked = _cross_check(run, shipped, test.images)
    scores["convert"] = _kmodel_scores(shipped, test.images)
    quality = {stage: judge(answers, test.labels) for stage, answers in scores.items()}
    answers, agreement = quality["convert"], compare(scores["quantise"], scores["convert"])
    errors = layer_errors(shipped, tflite, test.images[:_LAYER_IMAGES], contract)
    names = convolution_names(shipped, model)
    wrong = mistakes(test.images, test.labels, scores["train"], scores["convert"])

    run.write_results(
        "evaluate",
        files={
            "confusion.csv": _csv(confusion_rows(scores["convert"], test.labels, labels), ("actual", "predicted")),
            "per_class.csv": _csv(class_rows(answers, labels), ("class", "accuracy")),
            "layer_errors.csv": _csv(error_rows(errors, names), ("layer", "snr_db", "cosine")),
            "mistakes.npz": wrong.npz(),
        },
        metrics={
            "float_accuracy": quality["train"].accuracy,
            "pruned_accuracy": quality["prune"].accuracy,
            "replaced_accuracy": quality["replace"].accuracy,
            "quantised_accuracy": quality["quantise"].accuracy,
            "kmodel_accuracy": answers.accuracy,
            "test_images": len(test),
        },
        report={
            "labels": list(labels),
            "confusion": answers.confusion.tolist(),
            "per_class": class_rows(answers, labels),
            "kmodel_against_float": {
                "cosine": agreement.cosine,
                "snr_db": _finite(agreement.snr_db),
                "largest_difference": agreement.largest,
                "same_class": agreement.same_class,
            },
            "newly_wrong": wrong.newly_wrong,
            "newly_right": wrong.newly_right,
            "wrong": np.flatnonzero(predictions(scores["convert"]) != test.labels).tolist(),
            "layer_images": min(_LAYER_IMAGES, len(test)),
            "layers": [_error_json(error, names[error.convolution]) for error in errors],
            "cross_check": asdict(checked),
        },
    )
    return 0


def _float_scores(run: Run, stage: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    network = load_network(run.made_by(stage, "network.onnx"))
    return predict(network.graph, images, network.contract)


def _kmodel_scores(kmodel: Kmodel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The shipped file's answers to all images, bit for bit."""
    program = prepare(kmodel)
    starts = track(range(0, len(images), _BATCH), "evaluate")
    answers = [run_program(program, images[start : start + _BATCH])[0] for start in starts]
    return np.concatenate(answers).astype(np.float32).reshape(len(images), -1)


def _cross_check(run: Run, shipped: Kmodel, images: NDArray[np.uint8]) -> CrossCheck:
    """Compare with nncase's own Simulator on a sample of the images. Raises KmodelError where they disagree."""
    path = run.made_by("convert", "nncase.kmodel")
    v5, sample = path.read_bytes(), images[:_CROSS_CHECKED]
    outputs = nncase_simulate(v5, sample, nncase_python=find_nncase(run.root), title="cross-check", where=str(path))
    return cross_check(shipped, read(v5), sample, outputs, where=str(run.file("convert", "network.kmodel")))


def _error_json(error: LayerError, name: str) -> dict[str, object]:
    values = asdict(error)
    return {"layer": name, **values, "snr_db": _finite(error.snr_db)}


def _finite(value: float) -> float | None:
    """JSON has no infinity: None is an error of nothing."""
    return value if math.isfinite(value) else None


def _csv(rows: Sequence[Mapping[str, str | float]], columns: Sequence[str]) -> str:
    text = StringIO()
    writer = DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
