"""Where every stage keeps its files: ``out/<recipe>/<stage>/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline.errors import StorageError
from pipeline.files import write_json
from pipeline.recipe import Prune, Quantise, Recipe, Replace, Section, load_recipe, recipe_path

#: The stages, in the order in which they run.
STAGES = ("train", "search", "prune", "replace", "quantise", "convert", "evaluate", "gate", "report", "accept")


class Chosen(Section):
    """The settings that the search chose; a recipe without ``search`` passes its own."""

    prune: Prune | None
    replace: Replace
    quantise: Quantise


@dataclass(frozen=True)
class Run:
    """One recipe in one project folder.

    Attributes:
        root: the project's folder, which holds ``recipes/``, ``configs/`` and ``out/``.
        name: the recipe's name.
        recipe: the recipe itself.

    """

    root: Path
    name: str
    recipe: Recipe

    def file(self, stage: str, name: str) -> Path:
        """The file ``name`` of ``stage``."""
        return self.root / "out" / self.name / stage / name

    @property
    def report_page(self) -> Path:
        """The page for people."""
        return self.root / "out" / self.name / "report.html"

    def write_results(self, stage: str, *, metrics: dict[str, float | int], report: dict[str, object]) -> None:
        """Write a stage's ``metrics.json`` (flat numbers, no times) and ``report.json``. Raises StorageError."""
        write_json(self.file(stage, "metrics.json"), metrics)
        write_json(self.file(stage, "report.json"), report)

    def chosen(self) -> Chosen:
        """The settings that ``search`` chose. Raises StorageError when it has not run."""
        path = self.file("search", "chosen.yaml")
        try:
            return Chosen.model_validate(yaml.safe_load(path.read_text()))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise StorageError(
                f"cannot be read ({error})", where=str(path), remedy="run `dvc repro`, which runs `search` first"
            ) from error


def open_run(root: Path, name: str) -> Run:
    """Return the run of a recipe by name. Raises RecipeError."""
    path = recipe_path(root, name)
    return Run(root=root, name=path.stem, recipe=load_recipe(path))
