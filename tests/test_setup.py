"""`make` and `locks/create-environment`: exit codes; environments made once, whole, with a Python that starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def run(command: list[str], folder: Path, **variables: str) -> Done:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile with a set-up that is done and a kpufit that ends as $CODE says."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    script(tmp_path / "locks/create-environment", "exit ${SETUP_CODE:-0}")
    script(tmp_path / ".venv/bin/kpufit", 'echo "table [$MAKEFLAGS]"; exit $CODE')
    return tmp_path


@pytest.mark.parametrize("goal", [[], ["all"], ["--jobs=2"]])
@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (3, 2), (255, 2)])
def test_make_ends_as_kpufit_promises(project: Path, goal: list[str], code: int, expected: int) -> None:
    done = run(["make", *goal], project, CODE=str(code))
    assert done.returncode == expected
    assert done.stdout == "table []\n"


def test_an_acceptance_follows_a_rejection(project: Path) -> None:
    assert [run(["make"], project, CODE=code).returncode for code in ("1", "0", "1")] == [1, 0, 1]


@pytest.mark.parametrize("goal", [[], ["test"]])
def test_a_failing_setup_is_an_error(project: Path, goal: list[str]) -> None:
    done = run(["make", *goal], project, CODE="0", SETUP_CODE="1")
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A project whose lock asks for nothing; the only Python 3.10 that starts is pyenv's."""
    base = tmp_path / "a project"
    (base / "locks").mkdir(parents=True)
    shutil.copy(ROOT / "locks/create-environment", base / "locks")
    (base / "locks/nncase.lock").write_text("# nothing\n")
    for name in ("python3.10", "python3", "python"):
        script(tmp_path / "shims" / name, "exit 127")
    real = os.path.realpath(ROOT / ".venv-nncase/bin/python")
    script(tmp_path / "pyenv/versions/3.10.99/bin/python", f'exec "{real}" "$@"')
    return base


def create(base: Path, name: str = "nncase", **variables: str) -> Done:
    home = base.parent
    path = {"PATH": f"{home}/shims:{os.environ['PATH']}", "PYENV_ROOT": str(home / "pyenv")}
    return run(["locks/create-environment", name], base, **{**path, **variables})


@pytest.mark.nncase
def test_a_shim_that_does_not_start_is_passed_over_and_all_is_done_once(bare: Path) -> None:
    first = create(bare)
    assert first.returncode == 0, first.stderr
    assert "into .venv-nncase" in first.stdout
    version = run([".venv-nncase/bin/python", "--version"], bare).stdout
    assert version.startswith("Python 3.10.")
    again = create(bare)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    (bare / "locks/nncase.lock").write_text("./absent.whl\n")
    failed = create(bare)
    assert failed.returncode == 2
    assert "remedy: " in failed.stderr
    assert not (bare / ".venv-nncase/installed").exists()

    (bare / "locks/nncase.lock").write_text("# nothing again\n")
    assert "into .venv-nncase" in create(bare).stdout

    moved = bare.rename(bare.parent / "moved")
    (moved / ".venv-nncase/left-over").touch()
    assert "into .venv-nncase" in create(moved).stdout
    assert not (moved / ".venv-nncase/left-over").exists()


@pytest.mark.parametrize(("name", "version"), [("kpufit", "3.11"), ("nncase", "3.10")])
def test_a_machine_without_python_is_told_what_to_install(bare: Path, name: str, version: str) -> None:
    (bare / "locks/kpufit.lock").write_text("# nothing\n")
    script(bare.parent / "shims/python3.11", "exit 127")
    done = create(bare, name, PYENV_ROOT="/nowhere")
    assert done.returncode == 2
    assert f"no Python {version} starts here\n  remedy: install it with its venv module" in done.stderr
    assert list(bare.glob(".venv*/installed")) == []


def test_an_unknown_environment_is_refused(bare: Path) -> None:
    done = create(bare, "other")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown environment 'other'" in done.stderr


@pytest.mark.parametrize(
    ("summary", "shared", "expected"),
    [
        ("70 passed in 3.2s", False, 0),
        ("SKIPPED [1] tests/a.py:3: real models and kmodels absent (../shared)\n1 passed, 1 skipped in 3.2s", False, 0),
        ("SKIPPED [1] tests/a.py:3: real models and kmodels absent (../shared)\n1 passed, 1 skipped in 3.2s", True, 1),
        ("SKIPPED [2] tests/b.py:9: no nncase here\n1 passed, 2 skipped in 3.2s", False, 1),
    ],
)
def test_ci_fails_on_a_skip_that_could_have_run(tmp_path: Path, summary: str, shared: bool, expected: int) -> None:
    clone = tmp_path / "clone"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", clone / ".ci")
    (clone / "summary").write_text(summary + "\n")
    (clone / "Makefile").write_text("lint:\n\t@echo linted\ntest:\n\t@cat summary\n")
    if shared:
        (tmp_path / "shared").mkdir()
    done = run([".ci/run"], clone)
    assert done.returncode == expected
    assert done.stdout == f"linted\n{summary}\n"


@pytest.mark.parametrize("failing", ["lint", "test"])
def test_ci_fails_when_a_target_does(tmp_path: Path, failing: str) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("lint test:\n\t@test $@ != " + failing + "\n")
    assert run([".ci/run"], tmp_path).returncode != 0
