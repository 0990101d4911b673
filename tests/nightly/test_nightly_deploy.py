"""The workflow and the units that run a nightly, checked by the real tools, which are seen to find what is wrong."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"
UNITS = ROOT / "deploy" / "systemd"
ACTIONLINT = Path(sys.executable).parent / "actionlint"


def actionlint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ACTIONLINT, "-no-color", path], capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing_in_the_workflow() -> None:
    checked = actionlint(WORKFLOW)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-1.0"),
        ("${{ inputs.with }}", "${{ inputs.without }}"),
        ('cron: "17 2 * * *"', 'cron: "17 25 * * *"'),
    ],
)
def test_actionlint_would_find_a_mistake(tmp_path: Path, text: str, broken: str) -> None:
    content = WORKFLOW.read_text()
    assert text in content
    path = tmp_path / "nightly.yml"
    path.write_text(content.replace(text, broken))
    assert actionlint(path).returncode == 1


def verify(folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    units = sorted(str(path) for path in folder.glob("kpufit-nightly.*"))
    assert len(units) == 2
    command = ["systemd-analyze", "verify", "--user", "--man=no", *units]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with this checkout where the service looks for it, whichever environment runs the tests."""
    program = tmp_path / "home" / "kpufit" / ".venv" / "bin" / "kpufit"
    program.parent.mkdir(parents=True)
    program.symlink_to(Path(sys.executable).parent / "kpufit")
    return tmp_path / "home"


def test_systemd_finds_nothing_in_the_units(home: Path) -> None:
    checked = verify(UNITS, home)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr == ""


@pytest.mark.parametrize(
    ("unit", "text", "broken"),
    [
        ("kpufit-nightly.service", "bin/kpufit nightly", "bin/kpufitt nightly"),
        ("kpufit-nightly.service", "Type=oneshot", "Type=onesho"),
        ("kpufit-nightly.timer", "OnCalendar=*-*-* 02:17:00", "OnCalendar=at night"),
    ],
)
def test_systemd_would_find_a_mistake(home: Path, tmp_path: Path, unit: str, text: str, broken: str) -> None:
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    content = (folder / unit).read_text()
    assert text in content
    (folder / unit).write_text(content.replace(text, broken))
    checked = verify(folder, home)
    assert checked.returncode != 0 or checked.stderr != ""


def test_both_call_the_command_with_options_that_it_has() -> None:
    said = CliRunner().invoke(app, ["nightly", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["nightly"]["steps"]
    (run,) = [step["run"] for step in steps if "kpufit nightly" in step.get("run", "")]
    service = (UNITS / "kpufit-nightly.service").read_text()
    started = next(line for line in service.splitlines() if line.startswith("ExecStart="))
    for words in (shlex.split(run), shlex.split(started)):
        assert words[1] == "nightly"
        assert all(word in said for word in words if word.startswith("--"))
