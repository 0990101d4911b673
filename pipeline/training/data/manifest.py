"""What a recipe's data is, in checksums: a changed image recomputes every stage that saw it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import read_json, sha256
from pipeline.recipe import Data
from pipeline.training.data.fetch import cache_folder
from pipeline.training.data.parts import IMAGE_FOLDER, NPZ, npz_file, own_path
from pipeline.training.data.shipped import MINI_MANIFEST, MINI_NAME


def manifest_path(data: Data, root: Path) -> Path:
    """Return what DVC must watch: the manifest of a known data set, or the user's own file or folder.

    Raises:
        DataError: data.path is missing or wrong.
    """
    if data.name == MINI_NAME:
        return MINI_MANIFEST
    if data.name in (IMAGE_FOLDER, NPZ):
        return own_path(data, root)
    return cache_folder(data.name, root) / "manifest.json"


def manifest(data: Data, root: Path) -> dict[str, Any]:
    """Return the name of a recipe's data and the SHA-256 of all that is in it.

    Raises:
        DataError: the data is not here (remedy: ``kpufit data NAME``).
        StorageError: the manifest is torn.
    """
    path = manifest_path(data, root)
    if data.name not in (IMAGE_FOLDER, NPZ):
        npz_file(data, root)  # raises for an unknown name and for data that was not fetched
        if not path.is_file():
            raise DataError("is not here yet", where=data.name, remedy=f"kpufit data {data.name}")
        known: dict[str, Any] = read_json(path)
        return known
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    names = [each.relative_to(path).as_posix() if path.is_dir() else each.name for each in files]
    return {"name": data.name, "files": {name: sha256(each) for name, each in zip(names, files, strict=True)}}
