"""What kpufit brings along beside its code: ``dvc.yaml``, the firmware profiles, the locks and the default recipe.

In a checkout they are the repository's own files; an installed wheel has the same files under ``share/kpufit``.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from pipeline.errors import SetupError

#: The code.
PACKAGE = Path(__file__).parent

#: The repository of a checkout: `make setup` puts both environments there.
REPOSITORY = PACKAGE.parent

_SHARE = "share/kpufit"


def shipped(name: str) -> Path:
    """Return the file or folder that kpufit brings under ``name``, e.g. ``configs/firmware``.

    Raises:
        SetupError: the installation lacks it.
    """
    for folder in (REPOSITORY, _shared_folder()):
        # A wheel's code lies among other packages, whose files are not meant.
        if folder is not None and (folder / "dvc.yaml").is_file() and (folder / name).exists():
            return folder / name
    raise SetupError(f"this installation of kpufit has no {name}", where=str(PACKAGE), remedy="install kpufit again")


def _shared_folder() -> Path | None:
    """Where an installed wheel's files lie, by the installer's own list."""
    try:
        files = metadata.files("kpufit") or ()
    except metadata.PackageNotFoundError:
        return None
    found = (file for file in files if file.as_posix().endswith(f"{_SHARE}/dvc.yaml"))
    return next((Path(str(file.locate())).resolve().parent for file in found), None)
