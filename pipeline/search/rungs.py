"""Which candidates are worth more effort: successive halving over accuracy for the bytes.

Optuna's pruners do not work with several objectives. After asynchronous successive halving (Li et al., MLSys 2020): a
candidate goes on from a rung when it ranks among the best third of all that were measured there so far. What it is
ranked by is how many of the others are no larger and more accurate: so the small are not stopped for being small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

REDUCTION = 3
"""One in so many goes on, and has so many times the effort (the η of the paper; 3 or 4 there)."""


@dataclass(frozen=True)
class Result:
    """What a candidate came to at a rung: accuracy (0 to 1) and bytes of its kmodel."""

    accuracy: float
    kmodel_bytes: int


def share_of(rung: int, rungs: int, effort: float = 1.0) -> float:
    """Return the share of the full effort at a rung (from 0); the last has ``effort`` of it."""
    return effort * float(REDUCTION) ** (rung + 1 - rungs)


def beaten_by(result: Result, others: Sequence[Result]) -> int:
    """Return how many of the others are no larger and more accurate."""
    return sum(other.accuracy > result.accuracy and other.kmodel_bytes <= result.kmodel_bytes for other in others)


def goes_on(result: Result, others: Sequence[Result]) -> bool:
    """Return whether a candidate is worth the next rung, given all others measured at this one."""
    everyone = [*others, result]
    mine = beaten_by(result, others)
    better = sum(beaten_by(each, everyone) < mine for each in everyone)
    return better < max(1.0, len(everyone) / REDUCTION)
