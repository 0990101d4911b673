"""Files written whole or not at all: to a temporary name beside the target, then moved into place."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import StorageError

_PARTIAL = ".partial-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it becomes ``path``, on failure it is removed.

    The name keeps ``path``'s suffix, for writers that choose a format by it.

    Raises:
        StorageError: the file could not be written (disk full, no permission).

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL, suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise _storage_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)  # mkstemp makes 0600: outputs are for others to read too
        temporary.replace(path)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def exchange_folder() -> Iterator[Path]:
    """Yield a temporary folder for the files that pass to and from a tool; it is removed in any case.

    Raises:
        StorageError: it cannot be made, or a file in it cannot be written or read: the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="kpufit-") as name:
            yield Path(name)
    except OSError as error:
        raise StorageError(
            f"temporary files cannot be written ({error.strerror or error})",
            where=str(error.filename or tempfile.gettempdir()),
            remedy="free space there, or set TMPDIR to a folder on another disk",
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _storage_error(path, error) from error


def remove_partial(folder: Path) -> None:
    """Remove what killed writers left in ``folder``; nobody else may be writing there."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all. Raises StorageError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` as UTF-8 to ``path``, whole or not at all. Raises StorageError."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path``, whole or not at all. Raises StorageError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in ``path``. Raises StorageError when it is missing or torn."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot be read as JSON ({error})", where=str(path), remedy="delete it and run the stage again"
        ) from error


def yaml_problem(error: Exception) -> str:
    """Return in one line what PyYAML found wrong and where: its own text has several, and no file."""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot be written ({error.strerror or error})",
        where=str(path),
        remedy="free space on the disk or choose a folder that can be written; nothing was changed",
    )
