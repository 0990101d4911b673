"""evaluate: the accuracy of every form of the network, and above all of the kmodel, on the test images.

The only stage that reads test images; nothing is decided by them but the gate's verdict.
"""

from __future__ import annotations

from csv import DictWriter
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.environment import find_nncase
from pipeline.compiler.simulate import nncase_simulate
from pipeline.evaluation.agreement import compare
from pipeline.evaluation.metrics import judge
from pipeline.evaluation.plots import class_rows, confusion_rows
from pipeline.evaluation.tflite import tflite_scores
from pipeline.files import write_text
from pipeline.stages.layout import Run
from pipeline.stages.networks import load_network
from pipeline.training.accuracy import predict
from pipeline.training.data.heldout import load_test

_FLOAT_STAGES = ("train", "prune", "replace")


def run(run: Run) -> int:
    """Write the accuracies, the confusion matrix and the accuracy of each class on all test images."""
    labels = run.recipe.data.labels
    test = load_test(run.recipe.data, run.recipe.seed, run.root)
    scores = {stage: _float_scores(run, stage, test.images) for stage in _FLOAT_STAGES}
    contract = load_network(run.file("replace", "network.onnx")).contract
    scores["quantise"] = tflite_scores(run.file("quantise", "network.tflite").read_bytes(), test.images, contract)
    scores["convert"] = _kmodel_scores(run, test.images)
    quality = {stage: judge(answers, test.labels) for stage, answers in scores.items()}
    shipped, agreement = quality["convert"], compare(scores["quantise"], scores["convert"])

    _write_csv(run.file("evaluate", "confusion.csv"), confusion_rows(scores["convert"], test.labels, labels))
    _write_csv(run.file("evaluate", "per_class.csv"), class_rows(shipped, labels))
    run.write_results(
        "evaluate",
        metrics={
            "float_accuracy": quality["train"].accuracy,
            "pruned_accuracy": quality["prune"].accuracy,
            "replaced_accuracy": quality["replace"].accuracy,
            "quantised_accuracy": quality["quantise"].accuracy,
            "kmodel_accuracy": shipped.accuracy,
            "test_images": len(test),
        },
        report={
            "labels": list(labels),
            "confusion": shipped.confusion.tolist(),
            "per_class": class_rows(shipped, labels),
            "kmodel_against_float": {
                "cosine": agreement.cosine,
                "largest_difference": agreement.largest,
                "same_class": agreement.same_class,
            },
        },
    )
    return 0


def _float_scores(run: Run, stage: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    network = load_network(run.file(stage, "network.onnx"))
    return predict(network.graph, images, network.contract)


def _kmodel_scores(run: Run, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    kmodel = run.file("convert", "network.kmodel")
    outputs = nncase_simulate(
        kmodel.read_bytes(), images, nncase_python=find_nncase(run.root), title="evaluate", where=str(kmodel)
    )
    return outputs.astype(np.float32).reshape(len(images), -1)


def _write_csv(path: Path, rows: list[dict[str, str]] | list[dict[str, str | float]]) -> None:
    text = StringIO()
    writer = DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
