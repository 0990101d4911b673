"""TensorFlow in a process of its own: it may crash, hang or eat all memory, and must not outlive us."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pipeline
from pipeline.errors import ToolError
from pipeline.quantisation.exchange import LOG, get_error

_OUT_OF_MEMORY = ("MemoryError", "Cannot allocate memory", "bad_alloc", "failed to map segment", "ResourceExhausted")
_NAME = "the quantisation process (TensorFlow)"


def worker_command(folder: Path, memory_bytes: int) -> list[str]:
    """The command line of the worker on ``folder``."""
    return [sys.executable, "-m", "pipeline.quantisation.worker", str(folder), str(os.getpid()), str(memory_bytes)]


def run_child(command: Sequence[str], folder: Path, *, silence_s: float, notify: Callable[[str], None]) -> None:
    """Run ``command`` in ``folder`` until it ends; its output goes to a log there.

    The number of a file descriptor is appended to the command: each line written to it is a sign of life and is
    handed to ``notify``.

    Args:
        command: a program and its arguments.
        folder: holds its input and takes its output.
        silence_s: seconds without a sign of life after which it is killed.
        notify: called with each line of progress.

    Raises:
        ToolError: it crashed, was killed or hung; with the last lines of its log.
        KpufitError: the one that it left in the folder.
    """
    reading, writing = os.pipe()
    try:
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                [*command, str(writing)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                pass_fds=(writing,),
            )
        os.close(writing)
        writing = -1
        try:
            alive = _listen(reading, silence_s, notify)
            if not alive:
                process.kill()
            code = _end(process, silence_s)
            alive = alive and code is not None
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    text = (folder / LOG).read_text(errors="replace")
    if not alive:
        raise ToolError(
            f"{_NAME} gave no sign of life for {silence_s:g} s and was stopped",
            remedy="run it again with fewer other programs running, or with a smaller network",
            log=text,
        )
    if not code:
        return
    error = get_error(folder)
    if error is not None:
        raise error
    raise _crash(code, text)


def _listen(reading: int, silence_s: float, notify: Callable[[str], None]) -> bool:
    """Pass on lines until the other end closes; False when it stayed silent for too long."""
    pending = b""
    while select.select([reading], [], [], silence_s)[0]:
        block = os.read(reading, 65536)
        if not block:
            return True
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            notify(line.decode(errors="replace"))
    return False


def _end(process: subprocess.Popen[bytes], silence_s: float) -> int | None:
    """The exit status; None when it does not end although it has said its last."""
    try:
        return process.wait(timeout=silence_s)
    except subprocess.TimeoutExpired:
        return None


def _environment() -> dict[str, str]:
    """TensorFlow with Keras 2, quiet, without a GPU; our package and the environment's programs found first."""
    package = str(Path(pipeline.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(paths),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def _crash(code: int, log: str) -> ToolError:
    if code < 0:
        name = signal.Signals(-code).name
        what = f"{_NAME} was ended by {name}"
        remedy = "free some memory and run it again" if code == -signal.SIGKILL else "please report its last lines"
    else:
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "it said nothing")
        what, remedy = f"{_NAME} failed: {last.strip()}", "please report its last lines"
    if any(text in log for text in _OUT_OF_MEMORY):
        remedy = "its memory limit was reached: free some memory, or use fewer or smaller training images"
    return ToolError(what, remedy=remedy, log=log)
