"""Where every stage keeps its files: ``out/<recipe>/<stage>/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline.errors import FirmwareError, RecipeError, StorageError
from pipeline.files import replacing, yaml_problem
from pipeline.firmware.profile import load_profile
from pipeline.recipe import Prune, Quantise, Recipe, Replace, Section, load_recipe, parse, recipe_path

#: The stages, in the order in which they run.
STAGES = ("train", "search", "prune", "replace", "quantise", "convert", "evaluate", "gate", "report", "accept")

#: What goes into a file: bytes, text, or a value that becomes JSON.
Content = bytes | str | Mapping[str, object]


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
    def recipe_file(self) -> Path:
        """The recipe as its author wrote it."""
        return recipe_path(self.root, self.name)

    @property
    def report_page(self) -> Path:
        """The page for people."""
        return self.root / "out" / self.name / "report.html"

    def made_by(self, stage: str, name: str) -> Path:
        """The file ``name`` that an earlier ``stage`` wrote. Raises StorageError when it is not there."""
        path = self.file(stage, name)
        if not path.is_file():
            raise StorageError(
                f"is missing: `{stage}` has not run",
                where=str(path),
                remedy=f"`kpufit run {self.name}` runs the stages in order",
            )
        return path

    def write_results(
        self,
        stage: str,
        *,
        files: Mapping[str, Content],
        metrics: dict[str, float | int],
        report: dict[str, object],
    ) -> None:
        """Write all that a stage makes: ``files`` by name, ``metrics.json`` (flat numbers, no times), ``report.json``.

        Nothing is moved into place before everything is written: on a full disk the folder stays as it was.

        Raises:
            StorageError: a file cannot be written.

        """
        everything: dict[str, Content] = {**files, "metrics.json": metrics, "report.json": report}
        contents = {name: _bytes(content) for name, content in everything.items()}
        with ExitStack() as written:
            for name, content in contents.items():
                written.enter_context(replacing(self.file(stage, name))).write_bytes(content)

    def chosen(self) -> Chosen:
        """The settings that ``search`` chose.

        Raises:
            StorageError: it has not run, or its file is torn.
            RecipeError: the file holds other settings than a recipe may.

        """
        path = self.made_by("search", "chosen.yaml")
        try:
            values = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise StorageError(
                f"is not YAML ({yaml_problem(error)})", where=str(path), remedy="delete it; `search` writes it again"
            ) from error
        return parse(Chosen, values, where=str(path))


def _bytes(content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    text = content if isinstance(content, str) else json.dumps(content, indent=2, allow_nan=False) + "\n"
    return text.encode()


def open_run(root: Path, name: str) -> Run:
    """Return the run of a recipe by name.

    Raises:
        RecipeError: there is no such recipe, it is invalid, or names a firmware that has no valid profile: better said
            before a network is trained than by the stage that needs it.

    """
    path = recipe_path(root, name)
    recipe = load_recipe(path)
    try:
        load_profile(recipe.target.firmware, root)
    except FirmwareError as error:
        raise RecipeError(
            f"target.firmware: {error.where}: {error.what}", where=str(path), remedy=error.remedy
        ) from error
    return Run(root=root, name=path.stem, recipe=recipe)
