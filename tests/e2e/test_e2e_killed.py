"""``kill -9`` of ``dvc repro`` in every stage: the next run goes on, and ends with the same verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from projects import BIN, kpufit, make_project

from pipeline.stages.layout import STAGES
from pipeline.stages.manifest import refresh_manifests

pytestmark = pytest.mark.nncase


def kill_in(project: Path, stage: str) -> None:
    """Start ``dvc repro`` and kill it a moment after ``stage`` has started.

    DVC writes its list of running stages in place. Killed in that very moment, which a stage as short as ``search``
    hits, it leaves an empty file and asks for its removal; that is DVC's to mend, and not what is tested here.
    """
    running = project / ".dvc" / "tmp" / "rwlock"
    if running.exists() and not running.read_text():
        running.unlink()
    with subprocess.Popen(
        [BIN / "dvc", "repro"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as dvc:
        assert dvc.stdout is not None
        for line in dvc.stdout:
            if f"Running stage '{stage}@tiny'" in line:
                time.sleep(0.4)  # the interpreter is up, and on most stages at work
                break
        else:
            pytest.fail(f"{stage} did not run")
        dvc.send_signal(signal.SIGKILL)


def left_over(project: Path) -> list[int]:
    """Processes that still work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(project) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_killed_in_every_stage_it_goes_on_and_ends_the_same(finished: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "killed")
    refresh_manifests(project, ["tiny"])
    for stage in STAGES:
        kill_in(project, stage)
        deadline = time.monotonic() + 5
        while left_over(project) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left_over(project) == [], f"children outlived the kill in {stage}"
    assert kpufit(project, "run").returncode == 0
    verdicts = [json.loads((folder / "out/tiny/gate/verdict.json").read_text()) for folder in (finished, project)]
    assert verdicts[0] == verdicts[1]
    assert list((project / "out").rglob(".partial-*")) == []
