"""The child process: ``python -m pipeline.quantisation.worker FOLDER PARENT_PID MEMORY_BYTES NOTES_FD``.

Started by ``child.run_child`` on a folder that ``quantise`` has filled. TensorFlow is imported here alone, after the
limits are set.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import KpufitError
from pipeline.files import read_json, write_bytes, write_json
from pipeline.processes import die_with_parent
from pipeline.quantisation.exchange import JOB, MODEL, RESULT, get_array, put_error
from pipeline.quantisation.settings import Settings

_CHECKED_IMAGES = 16

Note = Callable[[str], None]


def main(folder: Path, parent: int, memory_bytes: int, notes: int) -> int:
    """Do the job in ``folder``; return the exit status. A typed error is left in the folder."""
    die_with_parent(parent)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)

    def note(line: str) -> None:
        os.write(notes, f"{line}\n".encode())

    try:
        _work(folder, note)
    except KpufitError as error:
        put_error(folder, error)
        return 2
    return 0


def _work(folder: Path, note: Note) -> None:
    job = read_json(folder / JOB)
    settings = Settings(**job["settings"])
    note("starting TensorFlow")
    import tensorflow as tf  # noqa: PLC0415 - after the limits

    from pipeline.quantisation.convert_tf import convert  # noqa: PLC0415
    from pipeline.quantisation.lift_keras import lift  # noqa: PLC0415
    from pipeline.quantisation.qat import Images, train  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()

    mean, std = np.asarray(job["mean"], np.float32), np.asarray(job["std"], np.float32)

    def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (images.astype(np.float32) / np.float32(255) - mean) / std

    calibration = _channels_last(get_array(folder, "calibration"))
    note("converting from ONNX")
    model = lift(convert(folder / MODEL, calibration), job["nodes"])
    samples = normalise(calibration[:_CHECKED_IMAGES])
    expected = _channels_last(get_array(folder, "expected"))
    result: dict[str, Any] = {"lift_error": _check(expected, model(samples).numpy(), "its conversion to Keras layers")}

    note("writing TFLite")
    labelled = job["labelled"]
    validation = None
    if "validation" in labelled:
        validation = Images(_channels_last(get_array(folder, "validation")), get_array(folder, "validation_labels"))
    result["ptq"] = _write(folder / "ptq.tflite", model, samples, validation, normalise, settings)
    if validation is not None:
        data = validation
        if "train" in labelled:
            data = Images(_channels_last(get_array(folder, "train")), get_array(folder, "train_labels"))
        given = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
        outcome = train(model, data, validation, calibration, normalise, settings, note)
        result["ptq"]["predicted_accuracy"] = outcome.accuracy_before
        if settings.epochs:
            result["training"] = {"epochs": outcome.epochs, "diverged": outcome.diverged}
        if outcome.epochs:
            note("writing TFLite")
            result["qat"] = _write(folder / "qat.tflite", model, samples, validation, normalise, settings)
            result["qat"]["predicted_accuracy"] = outcome.accuracy
            result["qat"]["changes"] = _changes(given, model)
    write_json(folder / RESULT, result)


def _write(
    path: Path,
    model: Any,
    samples: NDArray[np.float32],
    validation: Any,
    normalise: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    settings: Settings,
) -> dict[str, Any]:
    """Write a checked TFLite file; return its error against Keras and its accuracy on validation."""
    from pipeline.quantisation.to_tflite import tflite_predict, to_tflite  # noqa: PLC0415

    tflite = to_tflite(model)
    seen = tflite_predict(tflite, samples, threads=settings.threads)
    written: dict[str, Any] = {"tflite_error": _check(model(samples).numpy(), seen, "its conversion to TFLite")}
    if validation is not None:
        logits = tflite_predict(tflite, normalise(validation.images), threads=settings.threads)
        written["float_accuracy"] = float(np.mean(logits.argmax(axis=1) == validation.labels))
    write_bytes(path, tflite)
    return written


def _check(expected: NDArray[np.float32], seen: NDArray[np.float32], step: str) -> float:
    from pipeline.quantisation.lift_keras import check_equal  # noqa: PLC0415

    return check_equal(expected, seen, step)


def _changes(given: dict[str, list[Any]], model: Any) -> list[dict[str, Any]]:
    """How far training moved each kernel, relative to its size, with a fingerprint to find its ONNX layer by."""
    changes = []
    for name, weights in given.items():
        before = weights[0]
        after = model.get_layer(name).get_weights()[0]
        size = float(np.sqrt(np.mean(before**2))) or 1.0
        moved = float(np.sqrt(np.mean((after - before) ** 2))) / size
        changes.append({"layer": name, "moved": moved, "norm": size, "weights": int(before.size)})
    return changes


def _channels_last(images: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if images.ndim == 4 else images


def _limit(what: int, wanted: int) -> None:
    _, hard = resource.getrlimit(what)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
