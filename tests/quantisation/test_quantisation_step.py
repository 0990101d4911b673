"""The whole step on a trained network whose channels were scaled apart, and all that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from quantisation_networks import CONTRACT, make

from pipeline.compiler.compile import Compiled, compile_network
from pipeline.compiler.environment import find_nncase
from pipeline.compiler.simulate import nncase_simulate
from pipeline.errors import DataError, NetworkError, ToolError
from pipeline.evaluation.tflite import tflite_scores
from pipeline.kmodel.read import read
from pipeline.network.contract import InputContract
from pipeline.quantisation.quantise import Candidate, Candidates, quantise
from pipeline.quantisation.settings import Settings
from pipeline.training.data.sets import DataSet

ROOT = Path(__file__).parents[2]


def float_accuracy(model: onnx.ModelProto, data: DataSet, contract: InputContract) -> float:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"image": contract.normalise(data.images)})[0]
    return float(np.mean(scores.argmax(axis=1) == data.labels))


@pytest.fixture(scope="module")
def compiled(
    candidates: Candidates, blobs: tuple[DataSet, DataSet], blob_contract: InputContract
) -> dict[str, Compiled]:
    assert candidates.qat is not None
    return {
        candidate.method: compile_network(
            candidate.tflite, "tflite", blobs[0].images[:128], blob_contract, nncase_python=find_nncase(ROOT)
        )
        for candidate in (candidates.ptq, candidates.qat)
    }


def test_ptq_keeps_the_accuracy_of_a_badly_scaled_network(
    candidates: Candidates,
    unbalanced: onnx.ModelProto,
    blobs: tuple[DataSet, DataSet],
    blob_contract: InputContract,
) -> None:
    whole = float_accuracy(unbalanced, blobs[1], blob_contract)
    assert whole > 0.8
    assert candidates.ptq.float_accuracy == pytest.approx(whole, abs=0.003)
    assert candidates.ptq.predicted_accuracy == pytest.approx(whole, abs=0.02)


def test_the_files_compute_what_the_report_says(
    candidates: Candidates, blobs: tuple[DataSet, DataSet], blob_contract: InputContract
) -> None:
    assert candidates.qat is not None
    for candidate in (candidates.ptq, candidates.qat):
        scores = tflite_scores(candidate.tflite, blobs[1].images, blob_contract)
        assert np.mean(scores.argmax(axis=1) == blobs[1].labels) == pytest.approx(candidate.float_accuracy, abs=0.003)


def test_training_moved_the_weights_and_kept_the_network_good(candidates: Candidates) -> None:
    assert candidates.qat is not None
    assert candidates.qat.tflite != candidates.ptq.tflite
    assert candidates.qat.predicted_accuracy >= candidates.ptq.predicted_accuracy - 0.03
    moved = [layer["moved_by_qat"] for layer in candidates.report["layers"]]
    assert all(value is not None and 0 < value < 1 for value in moved)


def test_the_report_is_json_and_tells_what_equalisation_did(candidates: Candidates) -> None:
    report = json.loads(json.dumps(candidates.report, allow_nan=False))
    assert max(group["spread_before"] for group in report["equalisation"]) > 40
    assert all(group["spread_after"] < group["spread_before"] / 3 for group in report["equalisation"])
    assert all(layer["weakest_channel"] > 0.01 for layer in report["layers"])
    assert report["lift_error"] <= 1e-4
    assert np.isfinite(report["training"]["epochs"][0]["loss"])


@pytest.mark.nncase
def test_nncase_runs_all_convolutions_on_the_kpu(compiled: dict[str, Compiled]) -> None:
    for result in compiled.values():
        kmodel = read(result.kmodel)
        assert not kmodel.has_cpu_convolution
        assert len(kmodel.convolutions) == 6
        steps = [type(step).__name__ for step in kmodel.steps]
        assert steps[: steps.index("Reduce")] == ["Upload", *["KpuConv"] * 5, "Download", "Dequantise"]


@pytest.mark.nncase
def test_the_prediction_holds_for_the_kmodel(
    candidates: Candidates, compiled: dict[str, Compiled], blobs: tuple[DataSet, DataSet]
) -> None:
    assert candidates.qat is not None
    python = find_nncase(ROOT)
    for candidate in (candidates.ptq, candidates.qat):
        scores = nncase_simulate(compiled[candidate.method].kmodel, blobs[1].images, nncase_python=python)
        accuracy = np.mean(scores.reshape(len(scores), -1).argmax(axis=1) == blobs[1].labels)
        assert accuracy == pytest.approx(candidate.predicted_accuracy, abs=0.015)


@pytest.mark.parametrize(
    ("ptq", "qat", "kept"), [(0.9, 0.91, "qat"), (0.9, 0.9, "ptq"), (0.9, 0.8, "ptq"), (None, None, "ptq")]
)
def test_the_better_prediction_wins_and_ptq_wins_ties(ptq: float | None, qat: float | None, kept: str) -> None:
    both = Candidates(Candidate("ptq", b"", 0.9, ptq), Candidate("qat", b"", 0.9, qat), {})
    assert both.predicted.method == kept
    assert Candidates(both.ptq, None, {}).predicted.method == "ptq"


def test_without_labels_there_is_ptq_alone(images: NDArray[np.uint8]) -> None:
    model = make("mobile", folded=False)
    notes: list[str] = []
    made = quantise(model, CONTRACT, images, settings=Settings(equalise=False, threads=1), notify=notes.append)
    assert made.qat is None
    assert (made.ptq.float_accuracy, made.ptq.predicted_accuracy) == (None, None)
    assert (made.report["equalisation"], made.report["training"]) == ([], None)
    assert notes == ["starting TensorFlow", "converting from ONNX", "writing TFLite"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": CONTRACT.normalise(images)})[0]
    np.testing.assert_allclose(tflite_scores(made.ptq.tflite, images, CONTRACT), expected, atol=1e-4)


def test_a_memory_limit_that_is_too_low_is_told(images: NDArray[np.uint8]) -> None:
    with pytest.raises(ToolError) as raised:
        quantise(make("plain"), CONTRACT, images, settings=Settings(memory_bytes=1 << 28), notify=lambda line: None)
    assert "memory" in raised.value.remedy


def test_weights_that_are_not_finite_are_refused_by_name(images: NDArray[np.uint8]) -> None:
    model = make("plain")
    tensor = model.graph.initializer[2]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(np.nan), tensor.name))
    with pytest.raises(NetworkError, match="NaN") as raised:
        quantise(model, CONTRACT, images)
    assert raised.value.where == tensor.name


def test_an_unsupported_operator_is_refused_with_its_layer(images: NDArray[np.uint8]) -> None:
    model = make("plain")
    node = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    erf = helper.make_node("Erf", list(node.input), list(node.output), name="strange")
    node.CopyFrom(erf)
    with pytest.raises(NetworkError, match="Erf") as raised:
        quantise(model, CONTRACT, images)
    assert raised.value.where == "strange"


def test_a_grouped_convolution_is_refused_with_its_layer(images: NDArray[np.uint8]) -> None:
    model = make("plain")
    node = next(node for node in model.graph.node if node.op_type == "Conv" and node.input[0] != "image")
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("group", 2))
    with pytest.raises(NetworkError, match="2 groups") as raised:
        quantise(model, CONTRACT, images)
    assert raised.value.where == node.name


def test_a_reshape_to_an_image_is_refused_with_its_layer(images: NDArray[np.uint8]) -> None:
    with pytest.raises(NetworkError, match="reshape to 4 axes") as raised:
        quantise(make("slicing"), CONTRACT, images)
    assert raised.value.where == next(n.name for n in make("slicing").graph.node if n.op_type == "Reshape")


def test_too_few_calibration_images_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match="3 calibration images are too few"):
        quantise(make("plain"), CONTRACT, images[:3])


def test_images_of_another_size_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match="3×10×12"):
        quantise(make("plain"), CONTRACT, images[:, :, :10])


def test_labels_that_the_network_does_not_know_are_refused(images: NDArray[np.uint8]) -> None:
    data = DataSet(images, np.full(len(images), 4, np.int64))
    with pytest.raises(DataError, match="labels up to 4"):
        quantise(make("plain"), CONTRACT, images, train=data, validation=data)
