"""The examples of the help, typed into a shell in a project that has run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from projects import BIN
from typer.main import get_command

from pipeline.cli import app
from pipeline.cli.help_text import EXAMPLES

COMMANDS = get_command(app).commands
OWN = {"model.onnx", "net.onnx", "faces.kmodel"}
"""What stands for a file of the reader's own."""

ELSEWHERE = {"data", "nightly", "run", "search", "plan", "bundle"}
"""What fetches, trains or takes its time; tests of their own run it, and `bundle` is in the example of `simulate`."""

REJECTED = {"check", "diff", "replace"}
"""What ends in 1 here: a network before its replacement, two kmodels that differ."""


def examples(name: str) -> list[str]:
    """The lines of a command's examples that need no file of the reader's, for the recipe that these tests have."""
    text = COMMANDS[name].help or ""
    lines = [line.strip() for line in text.partition(f"{EXAMPLES}\n")[2].splitlines() if line.strip()]
    return [line.replace("fashion-mnist-mini", "tiny") for line in lines if not OWN & set(line.split())]


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - ELSEWHERE))
def test_an_example_works_as_it_stands(project: Path, name: str) -> None:
    lines = [line.partition(" && kpufit run")[0] for line in examples(name)]
    assert lines
    script = "\n".join([f"{line}\ncode=$?; [ $code -le $worst ] || exit $code" for line in lines])
    done = subprocess.run(
        ["bash", "-c", f"worst={int(name in REJECTED)}\n{script}"],
        cwd=project,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
