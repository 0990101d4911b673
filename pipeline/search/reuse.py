"""Results of steps kept by what went into them, so that equal inputs are computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.files import write_bytes


def key_of(*inputs: Any) -> str:
    """Return a hash of bytes and of values that JSON can hold."""
    digest = hashlib.sha256()
    for value in inputs:
        content = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def reuse(folder: Path, key: str, make: Callable[[], bytes]) -> bytes:
    """Return what ``make`` gives, from ``folder`` if it was made before; files there are whole or not there.

    Raises:
        StorageError: the disk is full. What was there stays.
    """
    path = folder / key[:2] / key
    if path.is_file():
        return path.read_bytes()
    content = make()
    write_bytes(path, content)
    return content
