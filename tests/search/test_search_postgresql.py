"""Workers on two machines with one PostgreSQL: some are killed, the database goes away and comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from databases import PASSWORD, Postgres, postgres, program, wait_for
from optuna.trial import TrialState
from projects import NNCASE, kpufit
from searches import ENVIRONMENT, check_whole, searching_project, trials_of

from pipeline.search.study import finished

pytestmark = [
    pytest.mark.nncase,
    pytest.mark.timeout(600),
    pytest.mark.skipif(program("postgres") is None, reason="PostgreSQL is not installed"),
]

TRIALS = 6


@pytest.fixture
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="kpufit-postgres-") as folder, postgres(Path(folder) / "server") as found:
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return searching_project(tmp_path / "here", TRIALS)


def start_worker(project: Path, server: Postgres) -> subprocess.Popen[str]:
    """The command that ``kpufit search`` starts for each worker."""
    environment = {
        "KPUFIT_NNCASE_PYTHON": str(NNCASE),
        "KPUFIT_SEARCH_STORAGE": server.url,
        "KPUFIT_SEARCH_ARTIFACTS": str(project / "artifacts"),
        **ENVIRONMENT,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages.study", "tiny"],
        cwd=project,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def states(project: Path, server: Postgres, state: TrialState) -> int:
    return sum(trial.state == state for trial in trials_of(project, server.url))


def test_four_workers_on_two_machines_two_of_them_killed(project: Path, server: Postgres, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(project, there)
    workers = [start_worker(where, server) for where in (project, there) for _ in range(2)]
    wait_for(lambda: states(project, server, TrialState.RUNNING) >= 2, 180)
    for worker in (workers[0], workers[2]):
        worker.kill()
    for worker in (workers[1], workers[3]):
        _, said = worker.communicate(timeout=400)
        assert worker.returncode == 0, said
        assert said == ""
    for worker in (workers[0], workers[2]):
        worker.communicate()
    check_whole(trials_of(project, server.url), TRIALS)


def test_the_database_goes_away_and_comes_back(project: Path, server: Postgres) -> None:
    worker = start_worker(project, server)
    wait_for(lambda: states(project, server, TrialState.COMPLETE) >= 1, 180)
    server.stop()
    time.sleep(12)  # longer than a dead worker's silence
    assert worker.poll() is None
    assert PASSWORD not in " ".join(psutil.Process(worker.pid).cmdline())
    server.start()
    _, said = worker.communicate(timeout=300)
    assert worker.returncode == 0, said
    assert said == ""
    check_whole(trials_of(project, server.url), TRIALS)
    held = [path for path in project.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert held == []


def test_a_database_that_stays_away_is_one_message(project: Path, server: Postgres) -> None:
    url = server.url
    assert finished(trials_of(project, url)) == []
    server.stop()
    refused = kpufit(project, "search", "tiny", "--storage", url, **ENVIRONMENT)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "can be reached" in refused.stderr
    assert f"127.0.0.1:{server.port}" in refused.stderr
    assert PASSWORD not in refused.stdout + refused.stderr
