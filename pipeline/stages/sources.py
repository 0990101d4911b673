"""What a project outside the repository keeps of the installed kpufit, so that an upgrade reruns what it touches.

DVC watches files of the project's folder alone. ``dvc.yaml`` there is the repository's own, but where that names a
package or module of kpufit, it names a small file of ``locks/pipeline`` with its checksum. The lock files hold the
versions that are installed.
"""

from __future__ import annotations

import hashlib
import re
from importlib import metadata
from pathlib import Path

from pipeline.files import sha256, write_text
from pipeline.installation import PACKAGE, shipped

#: Of a project outside the repository; the repository has no such folder.
CHECKSUMS = Path("locks") / "pipeline"

_PART = re.compile(r"^( +- )pipeline/(\S+)$", re.MULTILINE)
_HEADER = """\
# From kpufit's own dvc.yaml by `kpufit init`; `kpufit run` keeps it as the installed kpufit has it, so edit recipes/
# and params.yaml instead. locks/pipeline holds checksums of kpufit's code: an upgrade reruns what it touches.
#
"""


def refresh_sources(root: Path) -> None:
    """Note anew what is installed, in a project outside the repository; does nothing in the repository.

    Raises:
        SetupError: the installation is incomplete.
        StorageError: a file cannot be written.
    """
    if (root / CHECKSUMS).is_dir():
        for name, content in sources().items():
            _write_changed(root / name, content)


def sources() -> dict[str, str]:
    """Return what a project keeps of the installed kpufit: contents by path, ``dvc.yaml`` among them.

    Raises:
        SetupError: the installation is incomplete.
    """
    pipeline = shipped("dvc.yaml").read_text()
    parts = sorted({part for _, part in _PART.findall(pipeline)})
    return {
        "dvc.yaml": _HEADER + _PART.sub(lambda found: f"{found[1]}{_checksum_file(found[2])}", pipeline),
        **{str(_checksum_file(part)): f"{_checksum(PACKAGE / part)}\n" for part in parts},
        "locks/kpufit.lock": _installed(shipped("locks/kpufit.lock").read_text()),
        "locks/nncase.lock": shipped("locks/nncase.lock").read_text(),
    }


def _checksum_file(part: str) -> Path:
    return CHECKSUMS / f"{part}.sha256"


def _checksum(part: Path) -> str:
    """SHA-256 of a module, or of the names and contents of all files of a package but compiled ones."""
    if part.is_file():
        return sha256(part)
    files = sorted(each for each in part.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    listed = "".join(f"{each.relative_to(part).as_posix()} {sha256(each)}\n" for each in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _installed(lock: str) -> str:
    """The packages of a lock file, in the versions that are installed; those that are not are left out."""
    lines = ["# The packages of kpufit's own lock file, as installed where this project runs."]
    for name in (line.split("==")[0] for line in lock.splitlines() if "==" in line):
        try:
            lines.append(f"{name}=={metadata.version(name).split('+')[0]}")
        except metadata.PackageNotFoundError:
            continue
    return "\n".join(lines) + "\n"


def _write_changed(path: Path, content: str) -> None:
    if not path.is_file() or path.read_text() != content:
        write_text(path, content)
