"""What made the results of a run: no times and no machine, so that the same run gives the same page."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

from pipeline.compiler.environment import locked_nncase
from pipeline.files import read_json, sha256
from pipeline.stages.layout import Run
from pipeline.stages.manifest import manifest_path

_PACKAGES = ("kpufit", "torch", "torch-pruning", "onnx", "onnx2tf", "tensorflow-model-optimization")
_GIT_TIMEOUT_S = 20
_SHOWN_FILES = 8
"""Checksums that are shown one by one; of larger folders only the checksum of all of them."""


def provenance(run: Run) -> dict[str, str]:
    """Return names and values in the order in which to show them. Raises StorageError for a torn manifest."""
    recipe, kmodel = run.recipe, run.file("convert", "network.kmodel")
    return {
        "recipe": run.name,
        "seed": str(recipe.seed),
        "model": ", ".join(f"{key} {value}" for key, value in recipe.model.model_dump(mode="json").items()),
        "firmware": recipe.target.firmware,
        "git commit": _commit(run),
        "SHA-256 of the kmodel": sha256(kmodel) if kmodel.is_file() else "there is none yet",
        **_checksums(run),
        "Python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "nncase": locked_nncase(run.root) or "unknown",
    }


def _checksums(run: Run) -> dict[str, str]:
    """Of the data: SHA-256 of the manifest that DVC watches, and of each file where there are few."""
    path = manifest_path(run.root, run.name)
    name = run.recipe.data.name
    if not path.is_file():
        return {"data": f"{name}, checksums unknown"}
    manifest = read_json(path)
    arrays = {key: value["sha256"] for key, value in manifest.get("arrays", {}).items()}
    files = {**arrays, **manifest.get("files", {})}
    each = {f"SHA-256 of {key}": str(value) for key, value in files.items()} if len(files) <= _SHOWN_FILES else {}
    return {"data": f"{name}: {len(files):,} files or arrays", "SHA-256 of all checksums": sha256(path), **each}


def _commit(run: Run) -> str:
    """The last commit that touched what the stages read, so that one which only records results changes nothing."""
    paths = [str(run.recipe_file), "configs", "locks", "pipeline"]
    try:
        commit = _git(run, "log", "-1", "--format=%H", "--", *paths)
        changed = _git(run, "status", "--porcelain", "--", *paths)
    except (OSError, subprocess.SubprocessError):
        return "not under git"
    if not commit:
        return "not committed"
    return f"{commit}, with changes since that are not committed" if changed else commit


def _git(run: Run, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=run.root, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True
    )
    return done.stdout.strip()
