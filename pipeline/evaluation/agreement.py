"""How near two runs of one network come to each other: two simulators, or before and after a change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """How two arrays of outputs compare.

    Attributes:
        equal: share of equal values.
        largest: largest difference.
        cosine: of the angle between the two, 1 for the same direction.
        snr_db: power of the reference over that of the difference in decibels; infinite when they are equal.
        same_class: share of images with the same highest value, or None where an image has one value.
    """

    equal: float
    largest: float
    cosine: float
    snr_db: float
    same_class: float | None


def compare(reference: NDArray[np.generic], other: NDArray[np.generic]) -> Agreement:
    """Compare outputs (codes or floats, N×…) with those of a reference.

    Raises:
        DataError: the shapes differ, or there is nothing to compare.
    """
    if reference.shape != other.shape or reference.size == 0:
        raise DataError(f"outputs {list(reference.shape)} and {list(other.shape)} cannot be compared")
    expected = reference.reshape(len(reference), -1).astype(np.float64)
    found = other.reshape(len(other), -1).astype(np.float64)
    difference = found - expected
    norms = float(np.linalg.norm(expected)) * float(np.linalg.norm(found))
    return Agreement(
        equal=float((found == expected).mean()),
        largest=float(np.abs(difference).max()),
        # Two outputs of nothing but zeros agree; one alone has no direction.
        cosine=float((expected * found).sum()) / norms if norms else float(not difference.any()),
        snr_db=_decibels(float((expected**2).sum()), float((difference**2).sum())),
        same_class=float((expected.argmax(1) == found.argmax(1)).mean()) if expected.shape[1] > 1 else None,
    )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
