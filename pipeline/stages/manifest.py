"""The data's manifest, a small file of checksums a recipe, by which DVC sees that images changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.files import write_json
from pipeline.stages.layout import open_run
from pipeline.training.data.manifest import manifest


def manifest_path(root: Path, name: str) -> Path:
    """The manifest of the recipe ``name``."""
    return root / "data" / "manifests" / f"{name}.json"


def refresh_manifests(root: Path, names: Sequence[str]) -> None:
    """Write the manifest of every recipe; one that did not change is left untouched.

    Raises:
        DataError: the data of a recipe is missing, with the command that fetches it.
        RecipeError: a recipe does not exist or is invalid.

    """
    for name in names:
        run = open_run(root, name)
        write_json(manifest_path(root, run.name), manifest(run.recipe.data, root))
