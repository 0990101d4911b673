"""What a night's results were made with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.compiler.environment import nncase_version
from pipeline.errors import SetupError

_PACKAGES = ("kpufit", "torch", "torch-pruning", "onnx", "onnx2tf", "tensorflow", "dvc")
_PROBE = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_TIMEOUT_S = 60


def versions(python: Path, nncase_python: Path) -> Mapping[str, str]:
    """Return the version of each tool by name; one that is not installed is left out.

    Args:
        python: the interpreter of the stages.
        nncase_python: the interpreter that has nncase.

    Raises:
        SetupError: one of them does not start, or has no nncase.
    """
    try:
        probe = subprocess.run(
            [python, "-I", "-c", _PROBE, *_PACKAGES], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SetupError(f"does not start ({error})", where=str(python), remedy="run `make setup`") from error
    return {**json.loads(probe.stdout), "nncase": nncase_version(nncase_python)}


def commit(root: Path) -> str | None:
    """Return git's commit, with ``-dirty`` where tracked files have changed since; None outside git.

    What a night itself writes does not count: its ledger and DVC's lock.
    """
    try:
        found = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "-uno", "--", ".", ":(exclude)nightly", ":(exclude)dvc.lock")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{found}-dirty" if changed else found


def _git(root: Path, *arguments: str) -> str:
    asked = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
    )
    return asked.stdout.strip()
