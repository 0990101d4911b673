"""Every case of the conformance suite, by name."""

from __future__ import annotations

import cases_activations
import cases_contexts
import cases_convolutions
import cases_layers
import cases_splits
from conformance_case import Case, Row

__all__ = ["CASES", "Case", "Row"]

_ALL = [
    *cases_convolutions.CASES,
    *cases_activations.CASES,
    *cases_layers.CASES,
    *cases_splits.CASES,
    *cases_contexts.CASES,
]

CASES: dict[str, Case] = {case.name: case for case in _ALL}

if len(CASES) != len(_ALL):
    raise AssertionError("two cases of one name")
