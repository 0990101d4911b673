"""A ``.kfpkg``: what kflash writes to a board's flash, a zip of files and a list of their addresses."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import FirmwareError

LIST_NAME = "flash-list.json"

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that equal files give an equal package."""


@dataclass(frozen=True)
class FlashFile:
    """A file for the flash.

    Attributes:
        name: in the package.
        address: where it goes, bytes.
        content: the file.
        firmware: whether it is a program that the chip boots: kflash then adds its length and SHA-256.
    """

    name: str
    address: int
    content: bytes
    firmware: bool = False


def pack(files: Sequence[FlashFile]) -> bytes:
    """Return a package; equal files give equal bytes.

    kflash finds addresses in the list by a regular expression: one key a line, decimal addresses, ``address`` never the
    last key, ``sha256Prefix`` always (kflash.py 1.1.6, process).

    Raises:
        FirmwareError: two files have one name or one address.
    """
    for what, values in (("name", [file.name for file in files]), ("address", [file.address for file in files])):
        if len(set(values)) != len(values):
            raise FirmwareError(f"two files have the same {what}", where=".kfpkg", remedy="give each its own")
    listed = [{"address": file.address, "bin": file.name, "sha256Prefix": file.firmware} for file in files]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps({"version": "0.1.0", "files": listed}, indent=2)
        for name, content in ((LIST_NAME, text.encode()), *((file.name, file.content) for file in files)):
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), content, zipfile.ZIP_DEFLATED)
    return package.getvalue()
