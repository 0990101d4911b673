"""nncase's own Simulator over many images: the independent judge of a kmodel's accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.child import Tool, run_jobs
from pipeline.compiler.environment import time_limit_s
from pipeline.errors import DataError, KmodelError
from pipeline.files import exchange_folder
from pipeline.progress import track

#: Seconds that one process may take for its chunk. An image was measured at 0.9 s at most, and a chunk has 250.
TIMEOUT_S = 600.0

_SMALLEST_CHUNK = 16  # starting a process takes 0.2 s
_LARGEST_CHUNK = 250
_CHUNKS_A_WORKER = 8  # so that the bar moves and no worker idles for long at the end
_REMEDY = "`kpufit inspect` says whether the file is whole and what it takes"


def nncase_simulate(
    kmodel: bytes,
    images: NDArray[np.uint8],
    *,
    nncase_python: Path,
    workers: int = 2,
    timeout_s: float | None = None,
    title: str = "nncase's Simulator",
    where: str = "",
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Run images through nncase's Simulator, several processes side by side.

    Args:
        kmodel: a kmodel v5 with one uint8 input N×C×H×W and one output.
        images: N×C×H×W.
        nncase_python: the interpreter of nncase's environment.
        workers: processes at a time; nncase uses one core each.
        timeout_s: seconds that one process may take for its chunk of at most 250 images; None:
            ``$KPUFIT_NNCASE_TIMEOUT_S``, else 600.
        title: of the progress bar.
        where: the kmodel's name, for messages.

    Returns:
        One row an image, in the type of the kmodel's output.

    Raises:
        KmodelError: not a kmodel v5.
        DataError: no images, or not uint8 N×C×H×W.
        SetupError: nncase's environment is missing.
        ToolError: nncase refused, crashed or hung, or takes images of another size; the message has its last lines.
        StorageError: the disk is full.
    """
    if kmodel[:8] != b"LDMK\x05\x00\x00\x00":
        raise KmodelError(
            "nncase's Simulator runs kmodel v5 only", where=where, remedy="`kpufit simulate` runs v3, v4 and v5"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise DataError(f"images to simulate are {images.dtype} {list(images.shape)}, not uint8 N×C×H×W")
    size = min(_LARGEST_CHUNK, max(_SMALLEST_CHUNK, len(images) // (workers * _CHUNKS_A_WORKER)))
    with exchange_folder() as folder:
        (folder / "kmodel").write_bytes(kmodel)
        np.save(folder / "images.npy", images)
        jobs = [_write_job(folder, first, min(first + size, len(images))) for first in range(0, len(images), size)]
        tool = Tool("nncase's Simulator", nncase_python, "simulate.py", {}, _REMEDY)
        running = run_jobs(tool, jobs, workers=workers, timeout_s=timeout_s or time_limit_s(TIMEOUT_S), where=where)
        for _ in track(running, title, total=len(jobs)):
            pass
        outputs: NDArray[np.uint8] | NDArray[np.float32] = np.concatenate([np.load(_outputs_of(job)) for job in jobs])
        return outputs


def _write_job(folder: Path, first: int, last: int) -> Path:
    job = folder / f"{first}.json"
    files = {"kmodel": folder / "kmodel", "images": folder / "images.npy", "outputs": _outputs_of(job)}
    job.write_text(json.dumps({"first": first, "last": last, **{key: str(path) for key, path in files.items()}}))
    return job


def _outputs_of(job: Path) -> Path:
    return job.with_suffix(".npy")
