"""Reading the kmodel that an argument names."""

from __future__ import annotations

from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a kmodel. Raises KmodelError when it cannot be read."""
    from pipeline.errors import KmodelError

    try:
        return path.read_bytes()
    except OSError as error:
        raise KmodelError(f"cannot be read ({error.strerror})", where=str(path)) from error
