"""A bundle's folder: written whole or not at all, with a checksum of every file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import StorageError

SUMS = "SHA256SUMS"
"""In the form that ``sha256sum --check`` reads."""


def with_sums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files, by their paths in the folder, and their checksums."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in sorted(files.items())]
    return {**files, SUMS: "".join(lines).encode()}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle in place of an earlier one.

    Raises:
        StorageError: the folder holds something else, or cannot be written; it is then as it was.
    """
    if folder.exists() and not _is_bundle(folder):
        raise StorageError(
            "is there already, and is no bundle", where=str(folder), remedy="choose another folder, or remove it"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as name:
            made, earlier = Path(name) / "made", Path(name) / "earlier"
            for path, content in files.items():
                target = made / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            if folder.exists():
                folder.rename(earlier)
            try:
                made.rename(folder)
            except OSError:
                if earlier.exists():
                    earlier.rename(folder)
                raise
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})", where=str(folder), remedy="free space, or choose another"
        ) from error


def _is_bundle(folder: Path) -> bool:
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / SUMS).is_file())
