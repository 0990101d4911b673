"""A search killed again and again goes on by the same command; Ctrl-C gives back what is under way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from databases import wait_for
from optuna.trial import TrialState
from projects import BIN, NNCASE, kpufit, set_recipe
from searches import ENVIRONMENT, check_whole, searching_project, trials_of

pytestmark = pytest.mark.nncase


MORE = 4
"""Trials on top, when a search ends before it could be killed as often as it was to be."""


def start(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "kpufit", "search", "tiny", "--workers", "2"],
        cwd=project,
        env={"KPUFIT_NNCASE_PYTHON": str(NNCASE), **os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
    )


def heed_ctrl_c() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def workers_of(command: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        children = psutil.Process(command.pid).children()
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def kill_at_random(project: Path, chance: random.Random, kills: int) -> int:
    """Run the command once and kill its workers or all of it, at most ``kills`` times; return how often."""
    done = 0
    with start(project) as command:
        while done < kills:
            until = time.monotonic() + chance.uniform(0.5, 12)
            while command.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            if command.poll() is not None:
                assert done or command.returncode == 0
                break
            workers, done = workers_of(command), done + 1
            if workers and chance.random() < 0.5:
                chance.choice(workers).kill()
            else:
                command.kill()
    wait_for(lambda: not workers_of(command), 5)
    return done


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kills", "trials"), [pytest.param(3, 8, id="a-few"), pytest.param(10, 30, id="many", marks=pytest.mark.bench)]
)
def test_killed_at_random_moments_nothing_is_lost(tmp_path: Path, kills: int, trials: int) -> None:
    project = searching_project(tmp_path / "project", trials)
    seed = random.randrange(1 << 32)
    chance, left = random.Random(seed), kills
    while left:
        killed = kill_at_random(project, chance, left)
        left -= killed
        if not killed:  # it came to its end first: there must be more to do
            trials += MORE
            set_recipe(project, "search", trials=trials)
    done = kpufit(project, "search", "tiny", "--workers", "2", timeout=600, **ENVIRONMENT)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    check_whole(trials_of(project), trials)


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_gives_back_what_is_under_way(tmp_path: Path, whole_group: bool) -> None:
    project = searching_project(tmp_path / "project", 40)
    command = start(project)
    try:
        wait_for(lambda: any(project.glob("studies/*/cache/*/*")) or command.poll() is not None, 200)
        before = time.monotonic()
        (os.killpg if whole_group else os.kill)(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 130, said
    assert time.monotonic() - before < 20
    assert "Traceback" not in said
    assert "the same command goes on" in said
    trials = trials_of(project)
    assert [trial.number for trial in trials if trial.state == TrialState.RUNNING] == []
    assert [trial.number for trial in trials if trial.state == TrialState.WAITING] != []
