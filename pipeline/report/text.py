"""Numbers as people read them; a dash where there is none."""

from __future__ import annotations

import math
from typing import Any

ABSENT = "–"


def count(value: Any) -> str:
    """Return a whole number with thousands separated, e.g. "61,440"."""
    return f"{int(value):,}" if _is_number(value) else ABSENT


def percent(value: Any) -> str:
    """Return a fraction as a percentage with two decimals, e.g. "92.31 %"."""
    return f"{100 * value:.2f} %" if _is_number(value) else ABSENT


def decimal(value: Any, digits: int = 3) -> str:
    """Return a number with a few significant digits."""
    return f"{value:.{digits}g}" if _is_number(value) else ABSENT


def words(value: Any) -> str:
    """Return anything as text: numbers as above, lists joined, None as a dash."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return decimal(value, 4)
    if isinstance(value, list | tuple):
        return ", ".join(words(item) for item in value) or ABSENT
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
