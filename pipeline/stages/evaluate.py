"""evaluate: the accuracy of every form of the network, and above all of the kmodel, on the test images.

The only stage that reads test images; nothing is decided by them but the gate's verdict.
"""

from __future__ import annotations

from csv import DictWriter
from dataclasses import asdict
from io import StringIO

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.environment import find_nncase
from pipeline.compiler.simulate import nncase_simulate
from pipeline.evaluation.agreement import compare
from pipeline.evaluation.crosscheck import CrossCheck, cross_check
from pipeline.evaluation.metrics import judge
from pipeline.evaluation.plots import class_rows, confusion_rows
from pipeline.evaluation.tflite import tflite_scores
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import prepare, run_program
from pipeline.progress import track
from pipeline.stages.layout import Run
from pipeline.stages.networks import load_network
from pipeline.training.accuracy import predict
from pipeline.training.data.heldout import load_test

_FLOAT_STAGES = ("train", "prune", "replace")
_BATCH = 256
_CROSS_CHECKED = 32  # images that nncase's Simulator, many times slower, runs too


def run(run: Run) -> int:
    """Write the accuracies, the confusion matrix and the accuracy of each class on all test images."""
    labels = run.recipe.data.labels
    test = load_test(run.recipe.data, run.recipe.seed, run.root)
    scores = {stage: _float_scores(run, stage, test.images) for stage in _FLOAT_STAGES}
    contract = load_network(run.made_by("replace", "network.onnx")).contract
    scores["quantise"] = tflite_scores(run.made_by("quantise", "network.tflite").read_bytes(), test.images, contract)
    path = run.made_by("convert", "network.kmodel")
    shipped = read(path.read_bytes(), where=str(path))
    checked = _cross_check(run, shipped, test.images)
    scores["convert"] = _kmodel_scores(shipped, test.images)
    quality = {stage: judge(answers, test.labels) for stage, answers in scores.items()}
    answers, agreement = quality["convert"], compare(scores["quantise"], scores["convert"])

    run.write_results(
        "evaluate",
        files={
            "confusion.csv": _csv(confusion_rows(scores["convert"], test.labels, labels)),
            "per_class.csv": _csv(class_rows(answers, labels)),
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
                "largest_difference": agreement.largest,
                "same_class": agreement.same_class,
            },
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


def _csv(rows: list[dict[str, str]] | list[dict[str, str | float]]) -> str:
    text = StringIO()
    writer = DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
