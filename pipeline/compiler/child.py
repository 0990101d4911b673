"""Native tools in child processes: they may crash, hang or eat all memory, and must not outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.compiler.environment import TIME_VARIABLE
from pipeline.errors import SetupError, ToolError

WORKER = Path(__file__).with_name("worker")

#: Address space of one child. nncase was measured at 70–160 MB on MobileNetV1 at 224×224.
MEMORY_BYTES = 4 << 30

_CANNOT_START = 127  # worker/*.py: the program or one of its packages is missing
_POLL_S = 0.01

_SIGNAL_REMEDIES = {
    signal.SIGKILL: "it was killed from outside, usually because memory ran out: free some and run again",
    signal.SIGXCPU: "the processor time allowed to it ran out: raise `ulimit -t`",
}


@dataclass(frozen=True)
class Tool:
    """A native tool and what is known about its failures.

    Attributes:
        name: as messages call it.
        python: the interpreter that it runs on.
        script: of ``worker/``; it takes the path of one JSON file.
        remedies: by a piece of text in the tool's log; the first found is shown.
        remedy: shown when none is found.
    """

    name: str
    python: Path
    script: str
    remedies: Mapping[str, str]
    remedy: str


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    log: Path
    deadline: float


def run_jobs(
    tool: Tool,
    jobs: Sequence[Path],
    *,
    workers: int,
    timeout_s: float,
    where: str = "",
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[int]:
    """Run a tool on job files, ``workers`` at a time; yield the index of each job as it ends.

    What a job prints (also from C++) is in :func:`log_of` it. When one fails, or the caller stops listening, the
    others are killed at once; when this process dies, so do they.

    Args:
        tool: what to run.
        jobs: JSON files for its script.
        workers: processes at a time.
        timeout_s: seconds that one job may take.
        where: what is being worked on, for messages.
        memory_bytes: address space of one process.

    Raises:
        SetupError: the interpreter or a package is missing.
        ToolError: a job crashed, ran out of time or memory, or said no.
        OSError: a log cannot be written (``files.exchange_folder`` makes it a StorageError).
    """
    waiting = list(enumerate(jobs))[::-1]
    running: dict[int, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index, job = waiting.pop()
                running[index] = _start(tool, job, timeout_s, memory_bytes)
            for index in [i for i, child in running.items() if _ended(tool, child, timeout_s, where)]:
                del running[index]
                yield index
            time.sleep(_POLL_S if running else 0)
    finally:
        for child in running.values():
            child.process.kill()
            child.process.wait()


def log_of(job: Path) -> Path:
    """Return the file that receives what a job prints."""
    return job.with_suffix(".log")


def _start(tool: Tool, job: Path, timeout_s: float, memory_bytes: int) -> _Running:
    guard = [sys.executable, "-I", "-S", str(WORKER / "guard.py"), str(os.getpid()), str(memory_bytes)]
    # -I: neither PYTHON* variables nor the user's packages of another Python reach it.
    command = [*guard, str(tool.python.absolute()), "-I", str(WORKER / tool.script), str(job.absolute())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # more threads were measured to gain nothing
    with log_of(job).open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=job.parent,  # nncase writes a kmodel_info.txt where it stands
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    return _Running(process, log_of(job), time.monotonic() + timeout_s)


def _ended(tool: Tool, child: _Running, timeout_s: float, where: str) -> bool:
    """Whether the child has ended well. Raises what it ended badly with."""
    code = child.process.poll()
    if code is None and time.monotonic() < child.deadline:
        return False
    if code == 0:
        return True
    child.process.kill()
    child.process.wait()
    log = child.log.read_text(errors="replace")
    if code is None:
        raise ToolError(
            f"{tool.name} took longer than {timeout_s:g} s and was stopped",
            where=where,
            remedy=f"give it more time ({TIME_VARIABLE}) or a smaller network; the log's last line says in which step "
            "it was",
            log=log,
        )
    if code == _CANNOT_START:
        raise SetupError(
            f"{tool.name} does not start with {tool.python}: {_last_line(log)}",
            where=where,
            remedy="run `make setup`, which makes its environment",
        )
    remedy = next((remedy for text, remedy in tool.remedies.items() if text in log), tool.remedy)
    if code < 0:
        raise ToolError(
            f"{tool.name} crashed ({_signal_name(-code)})",
            where=where,
            remedy=_SIGNAL_REMEDIES.get(signal.Signals(-code), remedy),
            log=log,
        )
    raise ToolError(f"{tool.name} failed: {_last_line(log)}", where=where, remedy=remedy, log=log)


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _signal_name(number: int) -> str:
    return f"{signal.Signals(number).name}, {signal.strsignal(number)}"
