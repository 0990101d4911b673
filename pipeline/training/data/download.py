"""One file over HTTP, resumed where an earlier attempt broke off, and proved by its SHA-256."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from pipeline.errors import DataError, StorageError
from pipeline.files import sha256
from pipeline.progress import track

_ATTEMPTS = 3
_TIMEOUT_S = 30
_BLOCK = 1 << 18
_RANGE_NOT_SATISFIABLE = 416


def download(url: str, target: Path, checksum: str) -> None:
    """Fetch ``url`` to ``target``. What arrived stays in ``<target>.part``, from where the next call goes on.

    Args:
        url: http or https.
        target: the file; moved into place only when whole and proved.
        checksum: its SHA-256 in hexadecimal.

    Raises:
        DataError: the address does not answer, or what it gives has another checksum.
        StorageError: the file cannot be written.
    """
    if target.is_file() and sha256(target) == checksum:
        return
    part = target.with_name(target.name + ".part")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _continue(url, part)
            break
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            if attempt == _ATTEMPTS or isinstance(error, urllib.error.HTTPError) or not part.exists():
                raise DataError(f"does not answer ({getattr(error, 'reason', error)})", where=url) from error
        except OSError as error:
            raise StorageError(
                f"cannot be written ({error.strerror})", where=str(part), remedy="free space on the disk"
            ) from error
    if sha256(part) != checksum:
        part.unlink()
        raise DataError("gave a file with another SHA-256 than the published one", where=url)
    part.replace(target)


def _continue(url: str, part: Path) -> None:
    """Append to ``part`` what is missing. Raises the errors of urllib and http.client; ConnectionError when cut off."""
    if not url.startswith(("http://", "https://")):
        raise DataError("is not an http address", where=url)
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the scheme was checked above
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:  # nothing is missing: the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        expected = response.headers.get("Content-Length")
        start = have if resumed else 0
        total = start + int(expected) if expected else None
        with part.open("ab" if resumed else "wb") as stream:
            title = f"fetching {Path(url).name}"
            for block in track(_blocks(response), title, total=-(-int(expected) // _BLOCK) if expected else None):
                stream.write(block)
        if total is not None and part.stat().st_size < total:
            raise ConnectionError(f"cut off after {part.stat().st_size} of {total} bytes")


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    while block := response.read(_BLOCK):
        yield block
