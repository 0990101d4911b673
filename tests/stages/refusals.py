"""How a stage refuses: exit code 2, one message with a remedy, and every file as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from projects import BIN, run

from pipeline.stages.layout import STAGES

Command = tuple[str | Path, ...]


def stage(name: str, recipe: str = "tiny") -> Command:
    """The command by which DVC runs a stage."""
    return (sys.executable, "-m", "pipeline.stages", name, recipe)


def kpufit_command(*arguments: str) -> Command:
    """The command line that a user types."""
    return (BIN / "kpufit", *arguments)


def leave_earlier_results(project: Path) -> None:
    """Put into every stage's folder what an earlier run could have left there."""
    for name in STAGES[:-2]:
        folder = project / "out" / "tiny" / name
        folder.mkdir(parents=True)
        for file in ("network.onnx", "network.tflite", "network.kmodel", "chosen.yaml", "metrics.json", "report.json"):
            (folder / file).write_text(f"of an earlier run: {name}/{file}")


def files(project: Path) -> dict[str, bytes]:
    """Every file of a project that a command could write, but locks and what DVC keeps for itself."""
    return {str(path.relative_to(project)): path.read_bytes() for path in sorted(_written(project))}


def refuses(project: Path, command: Command, *says: str, **environment: str) -> str:
    """Run a command that must refuse; return its message.

    Asserts exit code 2, one message that holds each of ``says`` and a remedy, no traceback, and that neither the
    project's files nor those of the folder for temporary files have changed.
    """
    temporary = project.parent / f"{project.name}-tmp"
    temporary.mkdir(exist_ok=True)
    before = files(project)
    done = run(project, *command, **{"TMPDIR": str(temporary), **environment})
    assert files(project) == before
    assert list(temporary.iterdir()) == []
    return one_message(done, *says)


def one_message(done: subprocess.CompletedProcess[str], *says: str) -> str:
    """Assert how a refusal looks; return it."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("kpufit")
    assert all(line.startswith("  ") for line in rest), done.stderr
    assert sum(line.startswith("  remedy: ") for line in rest) == 1, done.stderr
    for text in says:
        assert text in done.stderr, done.stderr
    return done.stderr


def _written(project: Path) -> Iterator[Path]:
    for path in project.rglob("*"):
        inside = path.relative_to(project).parts
        if path.is_file() and not path.name.endswith(".lock") and inside[0] != ".dvc" and "__pycache__" not in inside:
            yield path
