"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real models and kmodels that are never committed; tests on them skip where they are absent."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"real models and kmodels absent ({path})")
    return path
