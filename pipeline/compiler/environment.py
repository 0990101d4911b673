"""Where nncase is installed, and which version of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

from pipeline.errors import SetupError
from pipeline.installation import REPOSITORY

VARIABLE = "KPUFIT_NNCASE_PYTHON"
TIME_VARIABLE = "KPUFIT_NNCASE_TIMEOUT_S"

#: Where `make setup` puts both environments.
INSTALLATION = REPOSITORY

_PYTHON = Path(".venv-nncase/bin/python")
_REMEDY = (
    "run `make setup` in kpufit's repository, or make .venv-nncase here: `uv venv --seed -p 3.10 .venv-nncase && "
    ".venv-nncase/bin/pip install -r locks/nncase.lock`"
)
_PROBE_TIMEOUT_S = 60
_PROBE = """
import importlib.metadata, json, sys
versions = {name: importlib.metadata.version(name) for name in ("nncase", "numpy")}
print(json.dumps({"python": sys.version_info[:2], **versions}))
"""


def find_nncase(root: Path) -> Path:
    """Return the interpreter that has nncase, after a look that it starts and has the right versions.

    It is ``$KPUFIT_NNCASE_PYTHON``, whose version of nncase is the user's choice, else ``.venv-nncase`` in ``root`` or
    beside kpufit itself, whose version must be that of the ``locks/nncase.lock`` in the same place.

    Raises:
        SetupError: it is missing, does not start, or has other versions.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        nncase_version(Path(chosen))
        return Path(chosen)
    home = next((folder for folder in (root, INSTALLATION) if (folder / _PYTHON).exists()), root)
    version, locked = nncase_version(home / _PYTHON), locked_nncase(home)
    if locked is not None and version != locked:
        raise SetupError(f"has nncase {version}, not {locked}", where=str(home / _PYTHON), remedy=_REMEDY)
    return home / _PYTHON


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


def time_limit_s(usual: float) -> float:
    """Return the seconds that one process of nncase may take: ``$KPUFIT_NNCASE_TIMEOUT_S``, else ``usual``.

    Raises:
        SetupError: the variable is not a number above 0.
    """
    chosen = os.environ.get(TIME_VARIABLE)
    if not chosen:
        return usual
    try:
        seconds = float(chosen)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SetupError(
            f"{chosen!r} is not a number of seconds above 0",
            where=TIME_VARIABLE,
            remedy=f"unset it; nncase then has {usual:g} s",
        )
    return seconds


def locked_nncase(home: Path) -> str | None:
    """Return the version of nncase in the lock file of ``home``, or None where there is none."""
    path = home / "locks" / "nncase.lock"
    if not path.is_file():
        return None
    pins = dict(line.split("==", 1) for line in path.read_text().splitlines() if "==" in line)
    return pins["nncase"].strip() if "nncase" in pins else None
