"""The importing process: ``python -m pipeline.network.importers.worker FOLDER PARENT_PID MEMORY_BYTES``.

Started by ``child`` on a folder that holds the job. PyTorch's exporter or TensorFlow is imported here alone, after the
limits are set.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from pipeline.errors import NetworkError
from pipeline.files import read_json, write_json
from pipeline.network.importers.job import ERROR, JOB, NETWORK, Job
from pipeline.processes import die_with_parent


def main(folder: Path, parent: int, memory_bytes: int) -> int:
    """Do the job in ``folder``: leave the network or the typed error there; return the exit status."""
    die_with_parent(parent)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        _work(Job.from_json(read_json(folder / JOB)), folder / NETWORK)
    except NetworkError as error:
        write_json(folder / ERROR, {"what": error.what, "where": error.where, "remedy": error.remedy})
    return 0


def _work(job: Job, target: Path) -> None:
    if job.kind == "torch":
        from pipeline.network.importers.torch_side import export  # noqa: PLC0415

        export(job, target)
    elif job.kind == "tflite":
        from pipeline.network.importers.tensorflow_side import convert_tflite  # noqa: PLC0415

        convert_tflite(job, target)
    else:
        from pipeline.network.importers.tensorflow_side import convert_keras  # noqa: PLC0415

        convert_keras(job, target)


def _limit(kind: int, value: int) -> None:
    """Lower a limit; a lower one that is already set stays."""
    _, hard = resource.getrlimit(kind)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
