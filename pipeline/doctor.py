"""What a run needs, looked for one thing at a time, each with what to do when it is missing.

Nothing heavy is imported: a broken package must not keep the doctor from saying so.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.compiler.environment import INSTALLATION, find_nncase, nncase_version
from pipeline.errors import KpufitError
from pipeline.recipe import load_recipe, recipe_path
from pipeline.stages.repro import listed_recipes
from pipeline.training.data.manifest import manifest

#: ``quantise`` needs most: importing TensorFlow 2.19 and onnx2tf alone takes 0.6 GB (measured), fine-tuning more.
MEMORY_BYTES = 2 << 30

#: Outputs of a recipe take megabytes, the cache of CIFAR-10 0.4 GB.
DISK_BYTES = 1 << 30

_LOCK = INSTALLATION / "locks" / "kpufit.lock"
_WITHOUT_GIT = (
    "everything runs, but `dvc metrics diff` has nothing to compare with, and nightly's ledger and reports "
    "name no commit"
)
_BEGIN_GIT = (
    "to begin: `git init`, `dvc config --unset core.no_scm`, and the lines /cache, /tmp and /config.local in "
    ".dvc/.gitignore"
)
_OR_ALONE = "or do without: dvc config core.no_scm true"
_SETUP = f"run `make setup` in {INSTALLATION}"


@dataclass(frozen=True)
class Finding:
    """One thing that a run needs.

    Attributes:
        name: what was looked for.
        ok: whether it is as it must be.
        seen: what was found.
        remedy: what to do when it is not, else "".
    """

    name: str
    ok: bool
    seen: str
    remedy: str


def diagnose(root: Path) -> list[Finding]:
    """Look at everything that a run in the project folder ``root`` needs. Changes nothing."""
    checks: dict[str, Callable[[Path], str]] = {
        "Python": _python,
        "packages": _packages,
        "nncase": _nncase,
        "git": _git,
        "DVC": _dvc,
        "data": _data,
        "disk": _disk,
        "memory": _memory,
        "cores": _cores,
    }
    return [_finding(name, check, root) for name, check in checks.items()]


class _MissingError(KpufitError):
    """What a check raises: ``what`` was seen, ``remedy`` mends it."""


def _finding(name: str, check: Callable[[Path], str], root: Path) -> Finding:
    try:
        return Finding(name, True, check(root), "")
    except KpufitError as error:
        seen = f"{error.where}: {error.what}" if error.where else error.what
        return Finding(name, False, seen, error.remedy)


def _python(_: Path) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 11):
        raise _MissingError(f"{version} at {sys.executable}, not 3.11", remedy=_SETUP)
    return f"{version} at {sys.executable}"


def _packages(_: Path) -> str:
    if not _LOCK.is_file():
        return "no lock file: kpufit was not installed from its repository, versions are not compared"
    pins = dict(line.split("==", 1) for line in _LOCK.read_text().splitlines() if "==" in line)
    wrong = [f"{name} {found}, not {wanted}" for name, wanted in pins.items() if (found := _installed(name)) != wanted]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise _MissingError(f"{', '.join(wrong[:3])}{more}", where=str(_LOCK), remedy=_SETUP)
    return f"{len(pins)} packages, as {_LOCK.name} says"


def _installed(name: str) -> str:
    """The version of a package without its build (torch 2.13.0+cpu is torch 2.13.0)."""
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        return "missing"


def _nncase(root: Path) -> str:
    python = find_nncase(root)
    return f"{nncase_version(python)} at {python}"


def _git(root: Path) -> str:
    """DVC needs it, unless it was told that there is none, as ``kpufit init`` tells it outside git."""
    config = configparser.ConfigParser()
    config.read(_dvc_config(root))
    alone = config.get("core", "no_scm", fallback="false").lower() == "true"
    if shutil.which("git") is None:
        if alone:
            return f"not installed: {_WITHOUT_GIT}"
        raise _MissingError("git is not installed", remedy=f"install git: DVC needs it; {_OR_ALONE}")
    asked = subprocess.run(
        ["git", "-C", root, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False
    )
    if asked.returncode == 0:
        return asked.stdout.strip()
    if alone:
        return f"no repository: {_WITHOUT_GIT}; {_BEGIN_GIT}"
    raise _MissingError("is in no git repository", where=str(root), remedy=f"git init; {_OR_ALONE}")


def _dvc_config(root: Path) -> Path:
    return root / ".dvc" / "config"


def _dvc(root: Path) -> str:
    path = _dvc_config(root)
    config = configparser.ConfigParser()
    if not config.read(path):
        raise _MissingError(
            "is no DVC project", where=str(root), remedy="go to the project's folder, or run `dvc init`"
        )
    calls_home = [
        key for key in ("analytics", "check_update") if config.get("core", key, fallback="true").lower() != "false"
    ]
    if calls_home:
        remedy = " && ".join(f"dvc config core.{key} false" for key in calls_home)
        raise _MissingError(f"DVC calls home ({', '.join(calls_home)})", where=str(path), remedy=remedy)
    return f"{_installed('dvc')}, {path}"


def _data(root: Path) -> str:
    names = listed_recipes(root)
    sets = [load_recipe(recipe_path(root, name)).data for name in names]
    for data in sets:
        manifest(data, root)
    return f"{', '.join(sorted({data.name for data in sets})) or 'none'}, as {len(names)} listed recipe(s) need"


def _disk(root: Path) -> str:
    free = shutil.disk_usage(root).free
    if free < DISK_BYTES:
        raise _MissingError(f"{_size(free)} free", where=str(root), remedy=f"free at least {_size(DISK_BYTES)}")
    return f"{_size(free)} free"


def _memory(_: Path) -> str:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = Path("/sys/fs/cgroup/memory.max")  # a container's limit
    limit = group.read_text().strip() if group.is_file() else "max"
    memory = installed if limit == "max" else min(installed, int(limit))
    if memory < MEMORY_BYTES:
        raise _MissingError(_size(memory), remedy=f"give it at least {_size(MEMORY_BYTES)}")
    return _size(memory)


def _cores(_: Path) -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{cores}" if cores > 1 else "1: everything works, but takes about twice as long as on 2"


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
