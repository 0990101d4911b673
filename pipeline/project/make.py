"""Make a project's folder: all that ``dvc repro`` and ``kpufit run`` need there."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pipeline.errors import SetupError
from pipeline.files import write_bytes, write_text
from pipeline.firmware.profile import FOLDER as PROFILES
from pipeline.installation import shipped
from pipeline.project.texts import DVC_CONFIG, DVCIGNORE, GITIGNORE, params, readme
from pipeline.stages.repro import add_recipe, dvc_program
from pipeline.stages.sources import sources


@dataclass(frozen=True)
class Recipe:
    """A recipe to put into a new project.

    Attributes:
        name: of its file.
        text: the YAML.
        files: what else it needs: contents by path in the project.
    """

    name: str
    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)


def refuse_project(folder: Path) -> None:
    """Raise SetupError where there is a project already, or ``folder`` is no folder."""
    if folder.exists() and not folder.is_dir():
        raise SetupError("is a file", where=str(folder), remedy="name a folder that is empty or does not exist")
    for name in ("dvc.yaml", "params.yaml"):
        if (folder / name).exists():
            raise SetupError(
                f"holds a project already ({name})", where=str(folder), remedy="`kpufit add RECIPE` adds to it"
            )


def make_project(folder: Path, recipe: Recipe) -> list[str]:
    """Make a project in ``folder``, which may hold other files, and return the paths written, without ``.dvc``.

    Nothing is overwritten. ``params.yaml`` comes last, so that what was interrupted can be done again.

    Raises:
        SetupError: there is a project already, or a file of another content where one is to be written.
        RecipeError: the recipe is invalid.
        DataError: its data is missing.
        StorageError: a file cannot be written.
    """
    refuse_project(folder)
    contents: dict[str, bytes] = {
        **{f"{PROFILES.as_posix()}/{path.name}": path.read_bytes() for path in _shipped_profiles()},
        **{name: text.encode() for name, text in sources().items()},
        **recipe.files,
        f"recipes/{recipe.name}.yaml": recipe.text.encode(),
    }
    for name, content in contents.items():
        _refuse_other(folder / name, content)
    optional = {".gitignore": GITIGNORE, ".dvcignore": DVCIGNORE, "README.md": readme(recipe.name)}
    written = {name: text.encode() for name, text in optional.items() if not (folder / name).exists()}
    for name, content in {**contents, **written}.items():
        write_bytes(folder / name, content)
    _init_dvc(folder)
    write_text(folder / "params.yaml", params(shlex.quote(sys.executable)))
    try:
        add_recipe(folder, recipe.name)
    except Exception:
        (folder / "params.yaml").unlink()
        raise
    return sorted([*contents, *written, "params.yaml", f"data/manifests/{recipe.name}.json"])


def default_recipe(firmware: str | None) -> Recipe:
    """Return the recipe that kpufit ships, on the images that it ships, for another firmware if one is given."""
    path = shipped("recipes/fashion-mnist-mini.yaml")
    text = path.read_text()
    if firmware is not None:
        own = yaml.safe_load(text)["target"]["firmware"]
        text = text.replace(f"firmware: {own}", f"firmware: {firmware}")
    return Recipe(path.stem, text)


def _shipped_profiles() -> list[Path]:
    return sorted(shipped(PROFILES.as_posix()).glob("*.yaml"))


def _refuse_other(path: Path, content: bytes) -> None:
    if path.exists() and (not path.is_file() or path.read_bytes() != content):
        raise SetupError("is there already, with another content", where=str(path), remedy="move it away")


def _init_dvc(folder: Path) -> None:
    """``dvc init``, in git's repository where the folder is in one. Raises SetupError."""
    if not (folder / ".dvc").is_dir():
        mode = _dvc_mode(folder)
        made = subprocess.run(
            [dvc_program(), "init", "--quiet", *mode], cwd=folder, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise SetupError(f"dvc init failed: {made.stderr.strip()}", where=str(folder), remedy="see what it says")
        write_text(folder / ".dvc" / "config", DVC_CONFIG + ("    no_scm = true\n" if "--no-scm" in mode else ""))


def _dvc_mode(folder: Path) -> list[str]:
    if shutil.which("git") is None:
        return ["--no-scm"]
    asked = subprocess.run(
        ["git", "-C", folder, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        return ["--no-scm"]
    return [] if Path(asked.stdout.strip()).resolve() == folder.resolve() else ["--subdir"]
