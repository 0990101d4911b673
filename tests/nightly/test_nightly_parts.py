"""The parts of a night that touch processes and files: lock, versions, other environments, why something failed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import SetupError, ToolError
from pipeline.nightly.execute import why_failed
from pipeline.nightly.lock import AtWorkError, nightly_lock
from pipeline.nightly.trial import Environments, label, make_environments, parse_trial, requirements
from pipeline.nightly.versions import commit
from pipeline.recipe import Nightly, load_recipe

ROOT = Path(__file__).parents[2]


def test_the_second_is_told_who_is_at_work_and_the_next_one_may(tmp_path: Path) -> None:
    refused = pytest.raises(AtWorkError, match=f"process {os.getpid()}, since then")
    with nightly_lock(tmp_path, "then"), refused, nightly_lock(tmp_path, "now"):
        pass
    with nightly_lock(tmp_path, "later"):
        assert "later" in (tmp_path / "running.json").read_text()


def test_only_the_ledger_of_a_night_is_for_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / "nightly"
    with nightly_lock(folder, "now"):
        for name in ("ledger.jsonl", "summary.html"):
            (folder / name).write_text("")
    listed = ["git", "ls-files", "--others", "--exclude-standard"]
    seen = subprocess.run(listed, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert seen == ["nightly/.gitignore", "nightly/ledger.jsonl"]


def test_the_commit_says_when_files_have_changed_but_for_the_ledger(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    (tmp_path / "nightly").mkdir()
    for name in ("a", "nightly/ledger.jsonl"):
        (tmp_path / name).write_text("1")
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    clean = commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "nightly" / "ledger.jsonl").write_text("2")
    assert commit(tmp_path) == clean
    (tmp_path / "a").write_text("2")
    assert commit(tmp_path) == f"{clean}-dirty"


@pytest.mark.parametrize("given", ["nncase", "nncase=", "numpy=2", "nncase=../x", "torch=2 --index-url=x"])
def test_a_trial_is_a_tool_and_a_version(given: str) -> None:
    with pytest.raises(SetupError, match="TOOL=VERSION"):
        parse_trial([given])


def test_a_trial_may_exchange_several_tools_each_once() -> None:
    trial = parse_trial(["torch=2.12.1", "nncase=1.8.0.20220929"])
    assert label(trial) == "nncase-1.8.0.20220929+torch-2.12.1"
    with pytest.raises(SetupError):
        parse_trial(["torch=2.12.1", "torch=2.11.0"])


def test_another_torch_takes_the_place_of_kpufit_s_own_and_nothing_else() -> None:
    usual, other = requirements({}), requirements({"torch": "2.12.1"})
    (pinned,) = set(usual) - set(other)
    assert pinned.startswith("torch==")
    assert set(other) - set(usual) == {"torch==2.12.1"}
    assert any(text.startswith("onnx2tf==") for text in usual)


def fake_python(path: Path, *, pip: int) -> Path:
    """A program that makes environments with itself in them, notes what it is asked, and ends pip with a code."""
    path.write_text(
        f"""#!/bin/sh
echo "$@" >> {path.parent / "calls"}
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit 0; fi
echo no such version >&2
exit {pip}
"""
    )
    path.chmod(0o755)
    return path


def test_an_environment_that_cannot_be_made_says_why_and_is_not_taken_for_whole(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "python", pip=1)
    for _ in range(2):
        with pytest.raises(ToolError, match="no such version"):
            make_environments(tmp_path / "with", {"nncase": "0.0"}, Environments(python, python))


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "python", pip=0)
    usual = Environments(python, python)
    made = [make_environments(tmp_path / "with", {"nncase": "1.8"}, usual) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].python == python
    assert made[0].nncase == tmp_path / "with" / "nncase-1.8" / "bin" / "python"
    asked = (tmp_path / "calls").read_text().splitlines()
    assert len(asked) == 2
    assert " nncase==1.8 numpy==" in asked[1]


def test_another_tensorflow_comes_after_what_asks_for_one_exactly(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "python", pip=0)
    made = make_environments(tmp_path / "with", {"tensorflow": "2.18.1"}, Environments(python, python))
    assert made.nncase == python
    asked = (tmp_path / "calls").read_text().splitlines()
    assert "onnx2tf==" in asked[1]
    assert asked[2].endswith("tensorflow==2.18.1 tf-keras==2.18.*")
    assert "--editable" in asked[3]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Running\nkpufit train: x: gone\n  remedy: y\nERROR: failed to reproduce\n", "kpufit train: x: gone"),
        ("x\nERROR: Unable to acquire lock\nmore\n", "ERROR: Unable to acquire lock"),
        ("Traceback\nZeroDivisionError: no\n", "ZeroDivisionError: no"),
        ("", "it said nothing"),
    ],
)  # fmt: skip
def test_why_a_stage_failed_is_one_line(said: str, reason: str) -> None:
    assert why_failed(said) == reason


def test_a_recipe_may_name_tolerances_or_none(tmp_path: Path) -> None:
    content = (ROOT / "recipes" / "fashion-mnist-mini.yaml").read_text()
    path = tmp_path / "mini.yaml"
    path.write_text(content)
    assert load_recipe(path).nightly is None
    path.write_text(f"{content}nightly: {{accuracy: 0.01, kmodel_bytes: 512, latency_ms: 1}}\n")
    assert load_recipe(path).nightly == Nightly(accuracy=0.01, kmodel_bytes=512, latency_ms=1)
