"""A copy of a project that other tools may run in: nothing that they write reaches the project itself."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import SetupError
from pipeline.files import replacing, write_text

#: A line of a lock file: NAME==VERSION.
PINS = re.compile(r"([\w.-]+)==(\S+)$", re.MULTILINE)

#: What DVC and the stages read or write, and so is copied; results and their lock only the first time.
_COPIED = (".dvcignore", "configs", "dvc.yaml", "locks", "params.yaml", "pipeline", "recipes")
_RESULTS = ("dvc.lock", "out")
_LEFT_OUT = frozenset({".dvc", ".git", ".github", "nightly", ".venv-with", *_COPIED, *_RESULTS})
_STALE = re.compile(r"^python:.*$", re.MULTILINE)


def side_project(root: Path, folder: Path, trial: Mapping[str, str], python: Path | None) -> None:
    """Make or renew the copy of ``root`` in ``folder``, so that DVC recomputes there what another tool touches.

    The lock files name the tried versions: the stages that depend on them run again, and no others. Data and models are
    links to the project's own, which no stage writes to; only the checksums of data are copied.

    Args:
        root: the project.
        folder: where the copy goes. Results of an earlier trial in it are gone on with.
        trial: version by tool.
        python: the interpreter of the stages, where it is another than the project's.

    Raises:
        SetupError: DVC does not start.
        OSError: the disk is full.
    """
    first = not (folder / "dvc.lock").exists()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*_COPIED, *(_RESULTS if first else ())):
        _copy(root / name, folder / name)
    for path in root.iterdir():
        if path.name not in _LEFT_OUT and path.name != "data":
            _link(path, folder / path.name)
    (folder / "data").mkdir(exist_ok=True)
    for path in (root / "data").iterdir() if (root / "data").is_dir() else ():
        if path.name == "manifests":
            _copy(path, folder / "data" / path.name)
        else:
            _link(path, folder / "data" / path.name)
    for lock in (folder / "locks").glob("*.lock"):
        write_text(lock, PINS.sub(lambda pin: f"{pin[1]}=={trial.get(pin[1], pin[2])}", lock.read_text()))
    if python is not None:
        params = folder / "params.yaml"
        write_text(params, _STALE.sub(f"python: {python.absolute()}", params.read_text()))
    _dvc(root, folder)


def _dvc(root: Path, folder: Path) -> None:
    """A DVC of its own, without git, with the project's settings and cache: what is known there is not made again."""
    cache = _ask_dvc(root, "cache", "dir")
    if not (folder / ".dvc").is_dir():
        _ask_dvc(folder, "init", "--no-scm", "-q")
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(root / ".dvc" / "config")
    settings.read_dict({"core": {"no_scm": "true"}, "cache": {"dir": cache}})
    with replacing(folder / ".dvc" / "config") as path, path.open("w") as stream:
        settings.write(stream)


def _ask_dvc(folder: Path, *arguments: str) -> str:
    dvc = Path(sys.executable).parent / "dvc"
    try:
        asked = subprocess.run([dvc, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise SetupError(f"DVC does not start ({said})", where=str(folder), remedy="run `make setup`") from error
    return asked.stdout.strip()


def _copy(source: Path, target: Path) -> None:
    """Make ``target`` equal to ``source``: also without what was removed from it."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif target.exists() or target.is_symlink():
        target.unlink()
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", ".lock", ".partial-*")
        shutil.copytree(source, target, ignore=ignored)
    elif source.exists():
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    if not target.is_symlink():
        target.symlink_to(source.absolute())
