"""The observations of all cases, made once for all tests and workers."""

from __future__ import annotations

import os

import pytest
from conformance_observed import Observed, observe_once


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Every case, compiled and run by nncase: about a minute of one core. Workers of xdist share one run."""
    root = tmp_path_factory.getbasetemp()
    return observe_once(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root)
