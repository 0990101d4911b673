"""Workers as processes of their own: started, watched, started again when one dies, stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from pipeline.errors import ToolError
from pipeline.processes import die_with_parent
from pipeline.progress import TERMINAL

_POLL_S = 0.5
_STOP_S = 60.0
"""A worker that is asked to stop ends its candidate's step in the database; then it is killed."""
_MOST_RESTARTS = 3
"""In all: what kills workers again and again (memory, say) would do so for ever."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
_NO_BARS = {TERMINAL: "", "TTY_COMPATIBLE": "0"}
"""The terminal has the bar of the search. ``TTY_COMPATIBLE`` is rich's."""


def run_workers(
    command: Sequence[str], count: int, watch: Callable[[], None], variables: Mapping[str, str] | None = None
) -> None:
    """Run ``count`` processes of ``command`` until all have ended well.

    One that a signal killed is started again, three times in all; its candidate is repeated, as Optuna sees that it
    is dead. Each computes with one thread: so many small networks train faster side by side.

    Args:
        command: stops on SIGTERM; ends with 0 when there is nothing left to do, else with another code and its reason
            on stderr.
        count: processes.
        watch: called about twice a second.
        variables: to be added to their environment, which no one else can read, unlike a command line.

    Raises:
        ToolError: a worker failed, or died too often; the others were stopped.
        KeyboardInterrupt: asked to stop; the workers gave their candidates back.
    """
    restarts = 0
    with _stopping() as workers:
        for _ in range(count):
            workers.append(_start(command, variables or {}))
        while workers:
            time.sleep(_POLL_S)
            watch()
            for worker in [each for each in workers if each.poll() is not None]:
                workers.remove(worker)
                code = worker.returncode
                if code < 0 and restarts < _MOST_RESTARTS:
                    restarts += 1
                    workers.append(_start(command, variables or {}))
                elif code != 0:
                    reason = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
                    raise ToolError(
                        f"a worker of the search {reason}",
                        where="search",
                        remedy="see what it said above; the same command goes on with the study",
                    )


def _start(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env={**os.environ, **_ONE_THREAD, **_NO_BARS, **variables},
        stdin=subprocess.DEVNULL,
        preexec_fn=partial(_prepare, os.getpid()),  # noqa: PLW1509 (two system calls, before any thread)
    )


def _prepare(parent: int) -> None:
    """In the worker: Ctrl-C in the terminal reaches it too, but it is for the parent to say when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)


@contextmanager
def _stopping() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Hold workers; on leaving for whatever reason, ask those still at work to stop, and wait for them."""
    workers: list[subprocess.Popen[bytes]] = []
    try:
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        until = time.monotonic() + _STOP_S
        for worker in workers:
            try:
                worker.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
