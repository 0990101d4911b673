"""nncase missing, killed, hanging and crashing under ``convert``, and the disk full at each of its writes."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
from projects import NNCASE, ROOT, run
from refusals import refuses, stage

pytestmark = pytest.mark.nncase


def failing_nncase(folder: Path, ending: str) -> str:
    """An interpreter of nncase's that answers the look at its versions, and ends compiling as told."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *compile.py*) echo last words; {ending};; esac\nexec {NNCASE} "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_convert_works_with_what_the_refusals_start_from(before_convert: Path) -> None:
    done = run(before_convert, *stage("convert"))
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (before_convert / "out" / "tiny" / "convert").iterdir()}
    assert made == {"network.kmodel", "nncase.kmodel", "compiler.log", "metrics.json", "report.json"}


@pytest.mark.parametrize(
    ("python", "says"), [("/nowhere/python", "environment is missing"), (sys.executable, "No package metadata")]
)
def test_nncase_missing_where_the_user_says_it_is(before_convert: Path, python: str, says: str) -> None:
    refuses(before_convert, stage("convert"), python, says, "make setup", KPUFIT_NNCASE_PYTHON=python)


def test_nncase_missing_from_the_project(before_convert: Path) -> None:
    """A copy of the package, so that it cannot find the environment beside this checkout's."""

    shutil.copytree(
        ROOT / "pipeline", before_convert / "pipeline", ignore=shutil.ignore_patterns("__pycache__", "*.npz")
    )
    refuses(
        before_convert,
        stage("convert"),
        str(before_convert / ".venv-nncase"),
        "environment is missing",
        "make setup",
        KPUFIT_NNCASE_PYTHON="",
        PYTHONDONTWRITEBYTECODE="1",
    )


def test_nncase_killed(before_convert: Path, tmp_path: Path) -> None:
    refuses(
        before_convert,
        stage("convert"),
        "quantise/network.tflite",
        "nncase crashed (SIGKILL",
        "memory ran out",
        "| last words",
        KPUFIT_NNCASE_PYTHON=failing_nncase(tmp_path, "kill -KILL $$"),
    )


def test_nncase_segfaulting(before_convert: Path, tmp_path: Path) -> None:
    """nncase itself crashes: it is told to compile before it was given a network."""
    crash = "import nncase; o = nncase.CompileOptions(); o.target = 'k210'; nncase.Compiler(o).compile()"
    refuses(
        before_convert,
        stage("convert"),
        "quantise/network.tflite",
        "nncase crashed (SIGSEGV",
        "kpufit check",
        KPUFIT_NNCASE_PYTHON=failing_nncase(tmp_path, f'exec {NNCASE} -c "{crash}"'),
    )


def test_nncase_hanging(before_convert: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    refuses(
        before_convert,
        stage("convert"),
        "quantise/network.tflite",
        "nncase took longer than 3 s and was stopped",
        "KPUFIT_NNCASE_TIMEOUT_S",
        "| last words",
        KPUFIT_NNCASE_PYTHON=failing_nncase(tmp_path, "exec sleep 120"),
        KPUFIT_NNCASE_TIMEOUT_S="3",
    )
    assert time.monotonic() - start < 60
