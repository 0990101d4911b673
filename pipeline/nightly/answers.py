"""Which test images a kmodel got wrong, small enough for a line of the ledger."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """How a kmodel answered a test set.

    Attributes:
        accuracy: fraction of the images classified correctly.
        images: how many there are.
        test_set: names the images; results with the same name answered the same ones in the same order.
        wrong: bool, one an image: whether it was got wrong; None where that was not kept.
    """

    accuracy: float
    images: int
    test_set: str
    wrong: NDArray[np.bool_] | None


def pack(wrong: Sequence[int], images: int) -> str:
    """Return the places of the wrong images as text, about one byte for ten images."""
    flags = np.zeros(images, bool)
    flags[list(wrong)] = True
    return base64.b64encode(zlib.compress(np.packbits(flags).tobytes(), 9)).decode()


def unpack(text: str, images: int) -> NDArray[np.bool_] | None:
    """Return one flag an image, or None where the text holds no such flags: a ledger may have been edited."""
    try:
        packed = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    except (binascii.Error, zlib.error, ValueError):
        return None
    return np.unpackbits(packed, count=images).astype(bool) if len(packed) == -(-images // 8) else None
