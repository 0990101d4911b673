"""Child processes that do not outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere nothing happens).

    To be called early in the child itself, or as ``preexec_fn`` with the parent's process id.

    Args:
        parent: the process that must be alive. Without it, a process that init or systemd has adopted counts as
            orphaned, but not one that a container started as its first process's child.

    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call.
    orphaned = os.getppid() != parent if parent is not None else _adopted()
    if orphaned:
        os.kill(os.getpid(), signal.SIGKILL)


def _adopted() -> bool:
    """Whether process 1 is our parent without being DVC itself (in a container DVC may well be process 1)."""
    return os.getppid() == 1 and b"dvc" not in Path("/proc/1/cmdline").read_bytes()
