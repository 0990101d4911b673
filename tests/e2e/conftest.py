"""The tiny recipe, run once to the end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from projects import NNCASE, kpufit, make_project

pytest.register_assert_rewrite("pages")


@pytest.fixture(scope="session", autouse=True)
def nncase_of_this_checkout() -> None:
    """Projects in temporary folders use this checkout's nncase environment."""
    os.environ.setdefault("KPUFIT_NNCASE_PYTHON", str(NNCASE))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tiny recipe has run to the end; tests copy it before they change it."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    completed = kpufit(project, "run")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project, to be changed."""
    copy = tmp_path / "project"
    shutil.copytree(finished, copy, symlinks=True)
    return copy
