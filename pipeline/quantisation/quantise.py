"""Quantisation of a trained network for the KPU: equalised weights (PTQ), and fine-tuned ones (QAT), as float TFLite.

nncase takes float networks only and quantises them itself, so what can be handed over is weights that quantise well.
There are two candidates; which is kept is decided on validation images, by the caller, who can compile them, or by
``Candidates.predicted``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from pipeline.files import exchange_folder, read_json, write_json
from pipeline.network.contract import InputContract, write_contract
from pipeline.network.fold import fold_batchnorm
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.quantisation.check import check_images, check_network
from pipeline.quantisation.child import run_child, worker_command
from pipeline.quantisation.equalise import equalise
from pipeline.quantisation.exchange import JOB, MODEL, RESULT, put_array
from pipeline.quantisation.settings import Settings
from pipeline.quantisation.weight_report import weight_report
from pipeline.training.data.sets import DataSet

_CHECKED_IMAGES = 16


@dataclass(frozen=True)
class Candidate:
    """One way to quantise the network.

    Attributes:
        method: "ptq" or "qat".
        tflite: float TFLite, N×H×W×C, normalised input, batch 1, logits out.
        float_accuracy: of that file on the validation images, 0 to 1; None without labels.
        predicted_accuracy: the same with weights and activations fake-quantised in the KPU's scheme; on the kmodels
            measured it was within 0.25 points of the kmodel's own accuracy.
    """

    method: str
    tflite: bytes
    float_accuracy: float | None
    predicted_accuracy: float | None


@dataclass(frozen=True)
class Candidates:
    """What quantisation offers.

    Attributes:
        ptq: equalised weights, otherwise as trained.
        qat: weights fine-tuned under quantisation; None where that was not asked for or diverged.
        report: what was done, layer by layer, ready for JSON.
    """

    ptq: Candidate
    qat: Candidate | None
    report: dict[str, Any]

    @property
    def predicted(self) -> Candidate:
        """The candidate with the better predicted accuracy; PTQ where they are equal or unknown."""
        if self.qat is None or (self.qat.predicted_accuracy or 0.0) <= (self.ptq.predicted_accuracy or 0.0):
            return self.ptq
        return self.qat


def note_on_stderr(line: str) -> None:
    """Print a line of progress."""
    print(f"quantise: {line}", file=sys.stderr, flush=True)


def quantise(
    model: onnx.ModelProto,
    contract: InputContract,
    calibration: NDArray[np.uint8],
    *,
    train: DataSet | None = None,
    validation: DataSet | None = None,
    settings: Settings | None = None,
    notify: Callable[[str], None] = note_on_stderr,
) -> Candidates:
    """Return the quantisation candidates of ``model``.

    Args:
        model: one input of normalised images N×C×H×W, logits out, BatchNorm kept or folded.
        contract: how pixels become the network's input.
        calibration: uint8 N×C×H×W, training images.
        train: what QAT learns from; None for no QAT.
        validation: what accuracies are measured on; None for none (and no QAT).
        settings: see ``Settings``.
        notify: called with each line of progress.

    Raises:
        NetworkError: weights or activations that are not finite; an operator that cannot be carried, with its layer.
        DataError: too few images, or images that the network does not take.
        ToolError: TensorFlow crashed, hung, or its converter refused the network.
        StorageError: the temporary folder is full.
    """
    settings = settings or Settings()
    check_network(model)
    dims = model.graph.output[0].type.tensor_type.shape.dim
    classes = dims[1].dim_value if len(dims) == 2 and dims[1].dim_value else None
    check_images(contract, calibration, {"train": train, "validation": validation}, classes)
    folded = to_onnx(fold_batchnorm(to_torch(model)), contract)
    inputs = contract.normalise(calibration)
    equalised, effects = equalise(folded, inputs) if settings.equalise else (folded, [])
    write_contract(equalised, contract)
    if train is None or validation is None:
        settings = Settings(**{**asdict(settings), "epochs": 0})
    with exchange_folder() as folder:
        (folder / MODEL).write_bytes(equalised.SerializeToString())
        put_array(folder, "calibration", calibration)
        put_array(folder, "expected", _outputs(folded, inputs[:_CHECKED_IMAGES]))
        labelled = {"train": train if settings.epochs else None, "validation": validation}
        for name, data in labelled.items():
            if data is not None:
                put_array(folder, name, data.images)
                put_array(folder, f"{name}_labels", data.labels)
        job = {
            "settings": asdict(settings),
            "nodes": [node.name for node in equalised.graph.node],
            "mean": list(contract.mean),
            "std": list(contract.std),
            "labelled": [name for name, data in labelled.items() if data is not None],
        }
        write_json(folder / JOB, job)
        run_child(worker_command(folder, settings.memory_bytes), folder, silence_s=settings.silence_s, notify=notify)
        result = read_json(folder / RESULT)
        files = {method: (folder / f"{method}.tflite").read_bytes() for method in ("ptq", "qat") if method in result}
    candidates = {
        method: Candidate(
            method, content, result[method].get("float_accuracy"), result[method].get("predicted_accuracy")
        )
        for method, content in files.items()
    }
    report = {
        "equalisation": [asdict(effect) for effect in effects],
        "layers": weight_report(folded, equalised, result.get("qat", {}).get("changes", [])),
        "lift_error": result["lift_error"],
        "training": result.get("training"),
    }
    return Candidates(candidates["ptq"], candidates.get("qat"), report)


def _outputs(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: inputs})[0]
    return outputs
