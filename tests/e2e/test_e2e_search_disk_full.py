"""A study whose disk becomes full: it is said plainly, nothing is lost, and it goes on when there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from projects import kpufit
from searches import ENVIRONMENT, check_whole, searching_project, trials_of

from pipeline.search.study import finished

pytestmark = pytest.mark.nncase

TRIALS = 6
TOO_SMALL, ENOUGH = "300k", "64m"
"""A study of so many trials, with its kmodels and the results of steps, takes more than the one."""


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """Put a disk in memory at a folder."""
    if os.geteuid() != 0:
        pytest.skip("this machine mounts no disk: that takes root")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this machine mounts no disk ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.timeout(600)
def test_a_search_goes_on_once_there_is_room(tmp_path: Path) -> None:
    project = searching_project(tmp_path / "project", TRIALS)
    studies = project / "studies"
    with disk(studies, TOO_SMALL):
        full = kpufit(project, "search", "tiny", "--workers", "2", **ENVIRONMENT)
        assert full.returncode == 2, full.stdout + full.stderr
        assert "Traceback" not in full.stderr
        assert "cannot be written" in full.stderr
        assert "free space" in full.stderr
        assert str(studies) in full.stderr
        done = {trial.number: trial.values for trial in finished(trials_of(project))}
        assert len(done) < TRIALS

        subprocess.run(["mount", "-o", f"remount,size={ENOUGH}", studies], check=True)
        on = kpufit(project, "search", "tiny", "--workers", "2", **ENVIRONMENT)
        assert on.returncode == 0, on.stderr
        trials = trials_of(project)
        check_whole(trials, TRIALS)
        assert {trial.number: trial.values for trial in finished(trials)}.items() >= done.items()
