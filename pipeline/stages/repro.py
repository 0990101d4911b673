"""Run the DVC pipeline and tell a rejection from a failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, EXIT_REJECTED, RecipeError, SetupError
from pipeline.files import write_text, yaml_problem
from pipeline.progress import terminal_of_stderr
from pipeline.recipe import recipe_path
from pipeline.stages.manifest import refresh_manifests

_FAILED_STAGE = re.compile(r"failed to reproduce '([^']+)'")


def listed_recipes(root: Path) -> list[str]:
    """Return the names of the recipes that ``params.yaml`` lists.

    Raises:
        RecipeError: the file is missing or holds no list of names.

    """
    path = root / "params.yaml"
    try:
        values = yaml.safe_load(path.read_text())
        names = values["recipes"] or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("`recipes` is not a list of names")
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else yaml_problem(error)
        raise RecipeError(
            f"does not list the recipes ({reason})",
            where=str(path),
            remedy="run kpufit in a project's folder; its params.yaml holds `recipes: [NAME, …]`",
        ) from error
    return names


def add_recipe(root: Path, name: str) -> bool:
    """Append a recipe to ``params.yaml``, whose comments stay; return False when it is listed already.

    Raises:
        RecipeError: there is no such recipe, it is invalid, or it is no ``.yaml`` file of ``recipes/``.
        DataError: its data is missing.

    """
    path = recipe_path(root, name)
    proper = root / "recipes" / f"{path.stem}.yaml"
    if path.resolve() != proper.resolve():
        raise RecipeError("is not a .yaml file of recipes/", where=str(path), remedy=f"copy it to {proper} first")
    listed = listed_recipes(root)
    refresh_manifests(root, [name])
    if path.stem in listed:
        return False
    params = root / "params.yaml"
    lines = params.read_text().splitlines()
    start = next((number for number, line in enumerate(lines) if line.rstrip() == "recipes:"), None)
    if start is None:
        raise RecipeError(
            "has no line `recipes:` with one `  - NAME` a line below it", where=str(params), remedy="write it so"
        )
    end = start + 1
    while end < len(lines) and lines[end].lstrip().startswith(("-", "#")) and not lines[end].startswith("#"):
        end += 1
    lines.insert(end, f"  - {path.stem}")
    write_text(params, "\n".join(lines) + "\n")
    return True


def dvc_repro(
    root: Path, recipes: Sequence[str], *, trust: bool = False, until: str = "accept"
) -> tuple[list[str], dict[str, str]]:
    """Return the command that brings recipes up to date and the environment to run it in, in ``root``.

    What a killed DVC left behind, and would refuse to start with, is removed.

    Raises:
        SetupError: DVC is not installed in this environment.

    """
    environment = {**os.environ, **terminal_of_stderr()}
    if trust:
        environment["KPUFIT_TRUST"] = "1"
    bin_folder = Path(sys.executable).parent
    environment["PATH"] = f"{bin_folder}{os.pathsep}{environment.get('PATH', '')}"
    running = root / ".dvc" / "tmp" / "rwlock"
    if running.exists() and not running.read_text().strip():
        running.unlink()  # DVC was killed while it wrote this list of running stages
    dvc = dvc_program()
    return [str(dvc), "repro", "--keep-going", *(f"{until}@{name}" for name in recipes)], environment


def failed_stages(said: str) -> frozenset[str]:
    """Return the stages that failed, by what DVC said."""
    return frozenset(_FAILED_STAGE.findall(said))


def outcome(returned: int, failed: Iterable[str]) -> int:
    """Return 0 (accepted), 1 (one was rejected) or 2 (something failed).

    DVC answers 255 to both a rejection and a failure; which it was shows in the stage that failed: only ``accept``
    fails by rejecting.
    """
    if returned == 0:
        return EXIT_ACCEPTED
    stages = list(failed)
    only_rejected = stages and all(stage.startswith("accept@") for stage in stages)
    return EXIT_REJECTED if only_rejected else EXIT_ERROR


def dvc_program() -> Path:
    """Return the DVC of this environment. Raises SetupError when there is none."""
    dvc = Path(sys.executable).parent / "dvc"
    if not dvc.exists():
        raise SetupError("DVC is not installed beside this Python", where=str(dvc), remedy="run `make setup`")
    return dvc


def reproduce(root: Path, recipes: Sequence[str], *, trust: bool = False, until: str = "accept") -> int:
    """Run ``dvc repro`` for the recipes and return 0 (accepted), 1 (one was rejected) or 2 (something failed).

    What DVC prints is passed through.

    Raises:
        SetupError: DVC is not installed in this environment.

    """
    command, environment = dvc_repro(root, recipes, trust=trust, until=until)
    failed: set[str] = set()
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        stdout=sys.stderr,  # standard output is for our own table or JSON
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            failed |= failed_stages(line)
            sys.stderr.write(line)
            sys.stderr.flush()
    return outcome(child.returncode, failed)
