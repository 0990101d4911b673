"""Where models lie in flash beside the firmware and its file system, and their form for streaming.

``kflash`` erases and writes whole blocks, so what counts as taken is rounded out to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.errors import FirmwareError
from pipeline.firmware.profile import Profile

BLOCK_BYTES = 64 * 1024
"""What kflash sends at a time (kflash.py 1.1.6, ISP_FLASH_DATA_FRAME_SIZE); a shorter last frame takes a block too."""

FIRMWARE_FRAME_BYTES = 1 + 4 + 32
"""What kflash adds to a firmware (``sha256Prefix``): a flag, the size, a SHA-256 (kflash.py 1.1.6, flash_firmware)."""

_WORD_BYTES = 4


@dataclass(frozen=True)
class Region:
    """A part of the flash, ``start`` to ``start + size`` (bytes), and what lies there."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind the blocks that are written."""
        return -(-(self.start + self.size) // BLOCK_BYTES) * BLOCK_BYTES

    def __str__(self) -> str:
        return f"{self.name} (0x{self.start:06x} to 0x{self.end:06x})"


@dataclass(frozen=True)
class FlashLayout:
    """A flash without overlaps.

    Attributes:
        models: the models, in the order in which they were given.
        others: the firmware, and the file system where there is one.
    """

    models: tuple[Region, ...]
    others: tuple[Region, ...]


def flash_layout(
    profile: Profile,
    sizes: Sequence[tuple[str, int]],
    *,
    start: int | None = None,
    firmware_bytes: int | None = None,
) -> FlashLayout:
    """Place models one behind the other.

    Args:
        profile: says which part of the flash is for models, and what lies behind it.
        sizes: name and bytes of each model.
        start: where the first goes; None: at the start of the part for models.
        firmware_bytes: the size of the firmware that is written with them; None: the firmware is taken to fill all
            that lies before the part for models.

    Raises:
        FirmwareError: two parts overlap, a model reaches beyond the flash, or ``start`` is inside a block.
    """
    first = profile.flash_models_start.value if start is None else start
    if first % BLOCK_BYTES or first < 0:
        raise FirmwareError(
            f"a model cannot start at 0x{first:06x}: flash is written in blocks of {BLOCK_BYTES:,} bytes",
            where="flash layout",
            remedy=f"start at a multiple of 0x{BLOCK_BYTES:x}, e.g. 0x{profile.flash_models_start.value:06x}",
        )
    models: list[Region] = []
    for name, size in sizes:
        models.append(Region(name, models[-1].end if models else first, size))
    before = profile.flash_models_start.value if firmware_bytes is None else firmware_bytes + FIRMWARE_FRAME_BYTES
    firmware = Region("the firmware", 0, before)
    others = [firmware]
    behind = profile.flash_models_end.value
    if behind < profile.flash_bytes.value:
        others.append(Region("the file system (SPIFFS)", behind, profile.flash_bytes.value - behind))
    _refuse_overlaps([*models, *others], profile, free_from=firmware.end)
    return FlashLayout(tuple(models), tuple(others))


def _refuse_overlaps(regions: Sequence[Region], profile: Profile, free_from: int) -> None:
    remedy = (
        f"keep models within 0x{free_from:06x} to 0x{profile.flash_models_end.value:06x}, "
        "prune them smaller, or leave one out"
    )
    ordered = sorted(regions, key=lambda region: region.start)
    for one, next_one in pairwise(ordered):
        if one.end > next_one.start:
            raise FirmwareError(f"{one} overlaps {next_one}", where=f"flash of {profile.name}", remedy=remedy)
    last = ordered[-1]
    if last.end > profile.flash_bytes.value:
        raise FirmwareError(
            f"{last} reaches beyond the {profile.flash_bytes.value:,} bytes of flash",
            where=f"flash of {profile.name}",
            remedy=remedy,
        )


def swap_words(content: bytes) -> bytes:
    """Return a file as ``kpu.load_flash`` reads it: the bytes of every 32-bit word reversed, zeros behind the last."""
    padded = content + bytes(-len(content) % _WORD_BYTES)
    return np.frombuffer(padded, "<u4").byteswap().tobytes()
