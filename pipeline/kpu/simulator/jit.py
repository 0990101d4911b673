"""How this package's functions become machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def machine_code(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call; it runs without the interpreter's lock.

    The machine code is kept beside the module, or in the user's cache, where one of them is writable: compiling takes
    seconds, loading does not. Numba compiles again when the function's own file changes, but does not look at other
    files: functions that call each other belong in one.
    """
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no writable place
        return njit(nogil=True, error_model="numpy")(function)
