"""The data's manifest, a small file of checksums a recipe, by which DVC sees that images changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import NetworkError
from pipeline.files import sha256, write_json
from pipeline.recipe import TorchModel, ZooModel
from pipeline.stages.layout import Run, open_run
from pipeline.stages.sources import refresh_sources
from pipeline.training.data.manifest import manifest


def manifest_path(root: Path, name: str) -> Path:
    """The manifest of the recipe ``name``."""
    return root / "data" / "manifests" / f"{name}.json"


def refresh_manifests(root: Path, names: Sequence[str]) -> None:
    """Write the manifest of every recipe, and in a project of one's own what is installed (see ``sources``).

    Raises:
        NetworkError: a recipe's own network is missing.
        DataError: the data of a recipe is missing, with the command that fetches it.
        RecipeError: a recipe does not exist or is invalid.

    """
    refresh_sources(root)
    for name in names:
        run = open_run(root, name)
        write_json(manifest_path(root, run.name), {**manifest(run.recipe.data, root), **_network(run)})


def _network(run: Run) -> dict[str, str]:
    """The checksum of a user's own network, which no stage makes; nothing for one that is trained here."""
    model = run.recipe.model
    if isinstance(model, ZooModel):
        return {}
    path = run.root / (model.weights if isinstance(model, TorchModel) else model.path)
    if not path.is_file():
        raise NetworkError("no such file", where=str(path), remedy=f"see `model` in {run.recipe_file}")
    return {"network": sha256(path)}
