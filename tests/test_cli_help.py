"""Help that teaches, completion of names, docs/cli.md, and quiet output off a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from projects import BIN
from typer.main import get_command

from pipeline.cli import app
from pipeline.cli.document import DOCUMENT, cli_markdown

ROOT = Path(__file__).parents[1]
COMMANDS = get_command(app).commands
COLOUR = re.compile(r"\x1b\[[\d;]*3[0-7]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_gives_examples_and_exit_codes(name: str) -> None:
    text = COMMANDS[name].help
    assert f"    kpufit {name}" in text or f"&& kpufit {name}" in text
    assert "xit code" in text
    assert COMMANDS[name].rich_help_panel


def test_the_document_is_up_to_date() -> None:
    """`.venv/bin/python -m pipeline.cli.document` writes it."""
    assert DOCUMENT.read_text() == cli_markdown()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("kpufit run fashion-mnist-m", {"fashion-mnist-mini"}),
        ("kpufit plan fashion-mnist-m", {"fashion-mnist-mini"}),
        ("kpufit nightly fashion-mnist-m", {"fashion-mnist-mini"}),
        ("kpufit run --until qu", {"quantise"}),
        ("kpufit data cif", {"cifar-10"}),
        ("kpufit firmware maixpy-m", {"maixpy-minimum", "maixpy-minimum-v4"}),
        ("kpufit check x.onnx --firmware al", {"all"}),
        ("kpufit insp", {"inspect"}),
    ],
)
def test_names_complete(words: str, expected: set[str]) -> None:
    asked = {"_KPUFIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [BIN / "kpufit"], cwd=ROOT, env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    found = {line.strip() for line in done.stdout.splitlines()}
    assert expected <= found
    assert all(name.startswith(words.rsplit(maxsplit=1)[-1]) for name in found)


def test_completion_installs(tmp_path: Path) -> None:
    home = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [BIN / "kpufit", "--install-completion", "bash"], env=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("_KPUFIT_COMPLETE" in path.read_text() for path in tmp_path.rglob("*.sh"))


def test_off_a_terminal_there_is_no_escape_code() -> None:
    done = subprocess.run([BIN / "kpufit", "firmware"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color(no_color: str, coloured: bool) -> None:
    outer, inner = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": no_color}
    subprocess.run([BIN / "kpufit", "--help"], stdout=inner, stderr=inner, env=environment, check=True)
    os.close(inner)
    said = b""
    try:
        while block := os.read(outer, 1 << 16):
            said += block
    except OSError:  # the end of a terminal
        pass
    assert bool(COLOUR.search(said.decode())) == coloured
