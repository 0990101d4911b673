"""How a command says that it failed."""

from __future__ import annotations

import sys
import traceback

from pipeline.errors import EXIT_ERROR, KpufitError


def tell(command: str, error: Exception) -> int:
    """Print what went wrong on stderr and return exit code 2.

    Python's own code for an exception is 1, which here means "rejected". An error of the operating system that nobody
    has put into words (a disk that is full, a folder that must not be written) is told like a typed one; a traceback
    is for errors in kpufit itself.
    """
    if isinstance(error, KpufitError):
        print(f"{command}: {error}", file=sys.stderr)
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        reason = f"{where}{error.strerror or error}"
        print(f"{command}: {reason}\n  remedy: free space or give access there, and run it again", file=sys.stderr)
    else:
        traceback.print_exception(error)
    return EXIT_ERROR
