"""What passes between the caller and the child process that runs TensorFlow: files in a temporary folder, no pickle.

``model.onnx`` and ``job.json`` go in with the images; ``ptq.tflite``, ``qat.tflite`` and ``result.json`` come out, or
``error.json``, which holds one of our typed errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import errors
from pipeline.errors import KpufitError, ToolError
from pipeline.files import read_json, write_json

MODEL = "model.onnx"
JOB = "job.json"
RESULT = "result.json"
ERROR = "error.json"
LOG = "log.txt"

_TYPES: dict[str, type[KpufitError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, KpufitError) and kind is not ToolError
}


def put_array(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Write an array of numbers."""
    np.save(folder / f"{name}.npy", values, allow_pickle=False)


def get_array(folder: Path, name: str) -> NDArray[Any]:
    """Read an array of numbers; it stays on disk until it is used."""
    array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array


def put_error(folder: Path, error: KpufitError) -> None:
    """Write a typed error for the caller to raise."""
    form = {"type": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}
    write_json(folder / ERROR, {**form, "log": getattr(error, "log", "")})


def get_error(folder: Path) -> KpufitError | None:
    """Return the typed error that the child wrote, if it wrote one."""
    if not (folder / ERROR).exists():
        return None
    form = read_json(folder / ERROR)
    kind = _TYPES.get(form["type"])
    if kind is None:
        return ToolError(form["what"], where=form["where"], remedy=form["remedy"], log=form["log"])
    return kind(form["what"], where=form["where"], remedy=form["remedy"])
