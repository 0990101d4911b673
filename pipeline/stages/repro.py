"""Run the DVC pipeline and tell a rejection from a failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, EXIT_REJECTED, RecipeError, SetupError
from pipeline.files import write_text, yaml_problem
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
        names = values["recipes"]
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


def reproduce(root: Path, recipes: Sequence[str], *, trust: bool = False) -> int:
    """Run ``dvc repro`` for the recipes and return 0 (accepted), 1 (one was rejected) or 2 (something failed).

    DVC answers 255 to both a rejection and a failure; which it was shows in the stage that failed: only ``accept``
    fails by rejecting. What DVC prints is passed through.

    Raises:
        SetupError: DVC is not installed in this environment.

    """
    environment = dict(os.environ)
    if trust:
        environment["KPUFIT_TRUST"] = "1"
    bin_folder = Path(sys.executable).parent
    environment["PATH"] = f"{bin_folder}{os.pathsep}{environment.get('PATH', '')}"
    running = root / ".dvc" / "tmp" / "rwlock"
    if running.exists() and not running.read_text().strip():
        running.unlink()  # DVC was killed while it wrote this list of running stages, and would refuse to start
    dvc = bin_folder / "dvc"
    if not dvc.exists():
        raise SetupError("DVC is not installed beside this Python", where=str(dvc), remedy="run `make setup`")
    targets = [f"accept@{name}" for name in recipes]
    failed: set[str] = set()
    with subprocess.Popen(
        [dvc, "repro", "--keep-going", *targets],
        cwd=root,
        env=environment,
        text=True,
        stdout=sys.stderr,  # standard output is for our own table or JSON
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            failed.update(_FAILED_STAGE.findall(line))
            sys.stderr.write(line)
            sys.stderr.flush()
    if child.returncode == 0:
        return EXIT_ACCEPTED
    only_rejected = failed and all(stage.startswith("accept@") for stage in failed)
    return EXIT_REJECTED if only_rejected else EXIT_ERROR
