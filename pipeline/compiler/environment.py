"""Where nncase is installed, and which version of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from pipeline.errors import SetupError

VARIABLE = "KPUFIT_NNCASE_PYTHON"
LOCK = Path("locks/nncase.lock")

_REMEDY = "run `make setup`, which makes .venv-nncase with Python 3.10 and nncase"
_PROBE_TIMEOUT_S = 60
_PROBE = """
import importlib.metadata, json, sys
versions = {name: importlib.metadata.version(name) for name in ("nncase", "numpy")}
print(json.dumps({"python": sys.version_info[:2], **versions}))
"""


def find_nncase(root: Path) -> Path:
    """Return the interpreter that has nncase, after a look that it starts and has the right versions.

    It is ``$KPUFIT_NNCASE_PYTHON``, whose version of nncase is the user's choice, else ``.venv-nncase`` in ``root``,
    whose version must be that of ``locks/nncase.lock``.

    Raises:
        SetupError: it is missing, does not start, or has other versions.
    """
    chosen = os.environ.get(VARIABLE)
    python = Path(chosen) if chosen else root / ".venv-nncase" / "bin" / "python"
    version = nncase_version(python)
    locked = locked_nncase(root)
    if not chosen and locked is not None and version != locked:
        raise SetupError(f"has nncase {version}, not {locked}", where=str(python), remedy=_REMEDY)
    return python


def nncase_version(python: Path) -> str:
    """Return the version of nncase that an interpreter has.

    Raises:
        SetupError: it is missing, does not start, has no nncase, or a Python or numpy that nncase cannot use.
    """
    if not python.is_file():
        raise SetupError("nncase's environment is missing", where=str(python), remedy=_REMEDY)
    try:
        probe = subprocess.run(
            [python, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"does not start ({error})", where=str(python), remedy=_REMEDY) from error
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"])[-1]
        raise SetupError(f"is not nncase's environment ({reason})", where=str(python), remedy=_REMEDY)
    found = json.loads(probe.stdout)
    if tuple(found["python"]) > (3, 10):
        raise SetupError("nncase 1.9 has wheels for Python 3.7 to 3.10 only", where=str(python), remedy=_REMEDY)
    if int(found["numpy"].split(".")[0]) >= 2:
        raise SetupError(f"nncase 1.9 crashes with numpy {found['numpy']}", where=str(python), remedy=_REMEDY)
    return str(found["nncase"])


def locked_nncase(root: Path) -> str | None:
    """Return the version of nncase in the lock file, or None where there is no lock (a project of one's own)."""
    path = root / LOCK
    if not path.is_file():
        return None
    pins = dict(line.split("==", 1) for line in path.read_text().splitlines() if "==" in line)
    return pins["nncase"].strip() if "nncase" in pins else None
