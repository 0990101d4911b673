"""One recipe brought up to date by DVC, within a time limit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import write_text
from pipeline.progress import TERMINAL
from pipeline.stages.repro import dvc_repro, failed_stages, outcome

_RUNNING_STAGE = re.compile(r"^Running stage '(\w+)@", re.MULTILINE)
_POLL_S = 0.2
_GUARD = """
import os, sys
from pipeline.processes import die_with_parent
die_with_parent(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""DVC dies with the nightly, and its stages with DVC."""


@dataclass(frozen=True)
class Outcome:
    """How a recipe's run ended.

    Attributes:
        code: 0 accepted, 1 rejected, 2 failed; None when it was stopped for its time.
        recomputed: the stages that ran, ``accept`` left out: it only says a verdict again.
        reason: why it failed, else "".
        seconds: how long it took.
    """

    code: int | None
    recomputed: tuple[str, ...]
    reason: str
    seconds: float


def execute(
    root: Path,
    recipe: str,
    log: Path,
    *,
    minutes: float,
    trust: bool = False,
    variables: Mapping[str, str] | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run ``dvc repro`` for one recipe; what it prints goes into ``log``.

    When its time is over, it and every process that it started are killed; what finished stages made stays.

    Args:
        root: the project's folder.
        recipe: its name.
        log: the file to write.
        minutes: time limit.
        trust: whether a recipe may run its own Python code.
        variables: to be added to the environment.
        watch: is told the stage at work.

    Raises:
        SetupError: DVC is not installed.
        StorageError: the log cannot be written.
    """
    command, environment = dvc_repro(root, [recipe], trust=trust)
    command = [sys.executable, "-P", "-c", _GUARD, str(os.getpid()), *command]
    write_text(log, "")
    start = time.monotonic()
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command,
            cwd=root,
            # The terminal shows the night; the bars of a stage would lie across it.
            env={**environment, TERMINAL: "", "PYTHONUNBUFFERED": "1", **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that one signal reaches everything that it starts
        )
    try:
        in_time = _wait(child, start + 60 * minutes, log, watch)
    finally:
        _kill(child)
    said = log.read_text(errors="replace")
    ran = tuple(stage for stage in _RUNNING_STAGE.findall(said) if stage != "accept")
    seconds = time.monotonic() - start
    if not in_time:
        return Outcome(None, ran, f"stopped after {minutes:g} minutes{_at_work(ran)}", seconds)
    code = outcome(child.returncode, failed_stages(said))
    return Outcome(code, ran, why_failed(said) if code not in (0, 1) else "", seconds)


def why_failed(said: str) -> str:
    """Return in a line what a stage said when it failed, or else DVC."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for sign in ("kpufit ", "ERROR: "):
        found = next((line for line in lines if line.startswith(sign)), None)
        if found is not None:
            return found
    return lines[-1] if lines else "it said nothing"


def _wait(child: subprocess.Popen[bytes], deadline: float, log: Path, watch: Callable[[str], None]) -> bool:
    """Whether the child ended before the deadline."""
    while child.poll() is None:
        if time.monotonic() > deadline:
            return False
        stages = _RUNNING_STAGE.findall(log.read_text(errors="replace"))
        watch(stages[-1] if stages else "")
        time.sleep(_POLL_S)
    return True


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that still runs, with its whole session."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _at_work(ran: tuple[str, ...]) -> str:
    return f", in {ran[-1]}" if ran else ""
