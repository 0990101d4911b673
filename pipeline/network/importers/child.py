"""Foreign code in a process of its own: a user's PyTorch factory, TensorFlow's readers of TFLite and Keras files.

The child writes an ONNX file into a folder of its own, or the typed error it met, and is then gone; whatever it does to
its interpreter, its memory or its threads, it does there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import onnx

import pipeline
from pipeline.errors import NetworkError, SetupError, ToolError
from pipeline.files import read_json, write_json
from pipeline.network.importers.job import ERROR, JOB, NETWORK, Job
from pipeline.network.read import load_onnx

TIMEOUT_S = 600.0
MEMORY_BYTES = 16 << 30
"""Address space of the child (RLIMIT_AS); TensorFlow alone reserves several GiB without using them."""


def from_torch(
    factory: str, weights: Path, image: tuple[int, int, int], root: Path, *, timeout_s: float = TIMEOUT_S
) -> onnx.ModelProto:
    """Return the network that ``factory`` ("package.module:function", found from ``root``) builds, with ``weights``.

    Raises:
        NetworkError: the function or the weights do not exist, do not fit each other, or the network cannot be carried.
        ToolError: the process crashed or hung.
    """
    _require(weights)
    job = Job("torch", str(weights.resolve()), image, factory=factory, root=str(root.resolve()))
    return _convert(job, weights, timeout_s)


def from_tflite(
    file: Path, image: tuple[int, int, int] | None = None, *, timeout_s: float = TIMEOUT_S
) -> onnx.ModelProto:
    """Return the float network of a TFLite file, its input turned to N×C×H×W; ``image`` C×H×W where it must be that.

    Raises:
        NetworkError: it cannot be read, is quantised, or cannot be carried.
        SetupError: TensorFlow's packages are not installed.
        ToolError: the process crashed or hung.
    """
    _require(file)
    _require_tensorflow()
    return _convert(Job("tflite", str(file.resolve()), image), file, timeout_s)


def from_keras(
    file: Path, image: tuple[int, int, int] | None = None, *, timeout_s: float = TIMEOUT_S
) -> onnx.ModelProto:
    """Return the network of a Keras .h5 or .keras file (Keras 2 or 3), its input turned to N×C×H×W.

    ``image``: C×H×W that it must take, and that stands for sizes the file leaves open.

    Raises:
        NetworkError: it cannot be read, holds code (a Lambda layer), or cannot be carried.
        SetupError: TensorFlow's packages are not installed.
        ToolError: the process crashed or hung.
    """
    _require(file)
    _require_tensorflow()
    return _convert(Job("keras", str(file.resolve()), image), file, timeout_s)


def _require(file: Path) -> None:
    if not file.is_file():
        raise NetworkError("does not exist", where=str(file), remedy="check the path; it is relative to the project")
    if file.stat().st_size == 0:
        raise NetworkError("is empty", where=str(file), remedy="copy or save the file again")


def _require_tensorflow() -> None:
    missing = [name for name in ("tensorflow", "tf2onnx", "tf_keras") if find_spec(name) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)} not installed", remedy="pip install 'kpufit[tensorflow]'")


def _convert(job: Job, file: Path, timeout_s: float) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="kpufit-import-") as name:
        folder = Path(name)
        write_json(folder / JOB, job.as_json())
        log = _run(folder, job, timeout_s)
        if (folder / ERROR).is_file():
            error = read_json(folder / ERROR)
            raise NetworkError(error["what"], where=error["where"] or str(file), remedy=error["remedy"])
        if not (folder / NETWORK).is_file():
            raise ToolError("the import ended without a network", where=str(file), log=log)
        try:
            return load_onnx(folder / NETWORK)
        except NetworkError as error:
            where = error.where.replace(str(folder / NETWORK), str(file))
            raise NetworkError(error.what, where=where, remedy=error.remedy) from error


def _run(folder: Path, job: Job, timeout_s: float) -> str:
    """Run the child on ``folder`` to its end and return what it printed."""
    command = [
        sys.executable,
        "-m",
        "pipeline.network.importers.worker",
        str(folder),
        str(os.getpid()),
        str(MEMORY_BYTES),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(job),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"the import took more than {timeout_s:g} s and was stopped",
            where=job.file,
            remedy="try again with fewer other programs running",
            log=(error.output or b"").decode(errors="replace"),
        ) from error
    log = done.stdout.decode(errors="replace")
    if done.returncode == 0:
        return log
    if done.returncode < 0:
        what = f"the import was ended by {signal.Signals(-done.returncode).name}"
    else:
        what = "the import failed"
    remedy = "the file may be damaged; if not, export the network to ONNX and give that file"
    raise ToolError(what, where=job.file, remedy=remedy, log=log)


def _environment(job: Job) -> dict[str, str]:
    """Quiet TensorFlow with Keras 2 and without a GPU; our package found before the user's."""
    paths = [str(Path(pipeline.__file__).parents[1]), job.root, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
