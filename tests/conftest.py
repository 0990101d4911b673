"""Fixtures that every test may use, and how tests share two cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core: more threads would only wait for each other. Before torch is imported, which reads it once.
    os.environ["OMP_NUM_THREADS"] = "1"

# `make test` starts us; a test that runs make itself must not be taken for its sub-make.
for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
    os.environ.pop(name, None)

# CI judges a submission: it must not fail by luck. Everywhere else Hypothesis tries other examples each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

#: Folders whose tests share a costly fixture (a finished pipeline, a child with TensorFlow) and stay in one process.
_TOGETHER = ("e2e", "quantisation")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell pytest-xdist what to run in one process: a file, or a folder that shares a costly fixture."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder in _TOGETHER else str(item.path)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real models and kmodels that are never committed; tests on them skip where they are absent."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"real models and kmodels absent ({path})")
    return path
