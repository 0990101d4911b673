"""Becomes another program that dies with its parent and stays within a memory limit.

``python guard.py PARENT_PID MEMORY_BYTES PROGRAM [ARGUMENT…]``; the kernel keeps both across ``exec``. A script of
its own, because code between ``fork`` and ``exec`` (``preexec_fn``) can deadlock in a parent that has threads. Standard
library only.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CANNOT_START = 127  # what a shell says of a program that it cannot start


def main(parent: int, memory_bytes: int, command: list[str]) -> None:
    """Set the limits and become ``command``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        sys.exit(_CANNOT_START)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        os.execv(command[0], command)  # noqa: S606  (the point: no shell)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}")
        sys.exit(_CANNOT_START)


def _limit(what: int, wanted: int) -> None:
    _, hard = resource.getrlimit(what)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
