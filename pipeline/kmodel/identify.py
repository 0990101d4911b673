"""Which kmodel a file is, told from its first bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"LDMK"
NNCASE_VERSION: Final = 5
"""Of the kmodels that nncase 1.x writes; kpufit makes v3 and v4 from it, which hold few of its CPU layers."""
EARLY_V5_HEADER_BYTES: Final = 24


@dataclass(frozen=True)
class Identity:
    """What a file is.

    Attributes:
        version: 1, 3, 4, 5, 6 or 7; None for an encrypted kmodel or anything else.
        name: what to call it, such as "kmodel v4 (nncase 0.2)".
        readable: whether ``read`` understands it.
        early: v5 only: the 24-byte header of nncase's snapshots before 1.0.
    """

    version: int | None
    name: str
    readable: bool = False
    early: bool = False


_BY_FIRST_WORD: Final = {
    1: Identity(1, "kmodel v1 (Kendryte's first converter)"),
    3: Identity(3, "kmodel v3 (nncase 0.1)", readable=True),
    10003: Identity(None, "encrypted kmodel v3 (for one chip's key)"),
}
_BY_VERSION: Final = {
    4: Identity(4, "kmodel v4 (nncase 0.2)", readable=True),
    5: Identity(5, "kmodel v5 (nncase 1.x)", readable=True),
    6: Identity(6, "kmodel v6 (nncase 2.0, not for the K210)"),
    7: Identity(7, "kmodel v7 (nncase 2.x, not for the K210)"),
}


def identify(data: bytes) -> Identity:
    """Tell what ``data`` is. Never raises: whatever is unknown is named so."""
    if len(data) < 8:
        return Identity(None, "no kmodel (shorter than any header)")
    if data[:4] == MAGIC:
        version = struct.unpack("<I", data[4:8])[0]
        if version == 5 and _is_early(data):
            return Identity(5, "early kmodel v5 (an nncase snapshot of July or August 2021)", readable=True, early=True)
        return _BY_VERSION.get(version, Identity(None, f"kmodel of an unknown version ({version})"))
    first = struct.unpack("<I", data[:4])[0]
    return _BY_FIRST_WORD.get(first, Identity(None, "no kmodel"))


def _is_early(data: bytes) -> bool:
    """Whether a v5 has the header without ``header_size``: a module's type name then stands at byte 24.

    The word at 8 is ``header_size`` (32 or more) in v5 and ``flags`` (0) before.
    """
    return struct.unpack("<I", data[8:12].ljust(4, b"\0"))[0] < EARLY_V5_HEADER_BYTES and len(data) >= 12
