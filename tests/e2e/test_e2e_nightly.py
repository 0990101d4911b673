"""The nightly over three recipes, one of them made worse and one over its budget; killed, two at once, out of time."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from nightly_projects import change, with_recipes
from projects import BIN, NNCASE, kpufit, run
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.compiler.environment import locked_nncase
from pipeline.nightly.ledger import Entry
from pipeline.nightly.side_project import side_project

pytestmark = pytest.mark.nncase

NAMES = ["good", "bad", "big"]


def ledger(project: Path) -> list[Entry]:
    """Every line, each of which must be whole."""
    text = (project / "nightly" / "ledger.jsonl").read_text()
    assert text.endswith("\n")
    return [Entry.model_validate_json(line) for line in text.splitlines()]


def summary(project: Path) -> dict[str, dict]:
    told = json.loads((project / "nightly" / "summary.json").read_text())
    return {recipe["recipe"]: recipe for recipe in told["recipes"]}


def left_over(project: Path) -> list[int]:
    """Processes that still work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(project) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def assert_all_ended(project: Path) -> None:
    deadline = time.monotonic() + 5
    while left_over(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_over(project) == []


def seconds_of_children() -> float:
    """What all children that have ended computed, and theirs: about what they take on a machine that is idle."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_here(project: Path, *arguments: str) -> Result:
    """Run kpufit in a project's folder, in this process."""
    with contextlib.chdir(project):
        return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def first_night(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recipes after a night in which all was well."""
    project = with_recipes(finished, tmp_path_factory.mktemp("nightly") / "project", NAMES)
    done = kpufit(project, "nightly", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["counts"] == {"new": 3}
    assert all(entry.baseline and entry.recomputed == () for entry in ledger(project))
    return project


@contextlib.contextmanager
def nightly_in(project: Path, stage: str) -> Iterator[subprocess.Popen[bytes]]:
    """A nightly that has come to a stage."""
    log = project / "nightly" / "logs" / f"{stage.partition('@')[2]}.log"
    log.unlink()
    command = [BIN / "kpufit", "nightly"]
    environment = {"KPUFIT_NNCASE_PYTHON": str(NNCASE), **os.environ}
    with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL) as child:
        try:
            deadline = time.monotonic() + 120
            while not (log.exists() and f"Running stage '{stage}'" in log.read_text()):
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield child
        finally:
            child.kill()


def test_what_got_worse_and_what_is_over_budget_are_named_also_after_a_kill(first_night: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(first_night, project, symlinks=True)
    untaught = {"epochs": 0, "distil": True}
    change(project, "bad", "train", epochs=1, lr=0.0001)
    change(project, "bad", "prune", finetune=untaught)
    change(project, "big", "target", model_bytes=2000)
    change(project, "big", "prune", finetune=untaught)
    for recipe in ("bad", "big"):
        change(project, recipe, "replace", regression_steps=0, distil_steps=0)
        change(project, recipe, "quantise", method="ptq")

    with nightly_in(project, "train@bad") as first:
        second = kpufit(project, "nightly")
        assert second.returncode == 2
        assert f"another nightly is at work (process {first.pid}, since " in second.stderr
        first.send_signal(signal.SIGKILL)
    assert_all_ended(project)
    assert [(entry.recipe, entry.verdict) for entry in ledger(project)[3:]] == [("good", "same")]

    night = kpufit(project, "nightly")
    assert night.returncode == 1, night.stdout + night.stderr
    told = summary(project)
    assert {name: told[name]["verdict"] for name in NAMES} == {"good": "same", "bad": "worse", "big": "rejected"}
    assert told["good"]["recomputed"] == []
    before, now = (point["kmodel_accuracy"] for point in (told["bad"]["trend"][0], told["bad"]["metrics"]))
    assert f"bad: worse: accuracy {before:.2%} → {now:.2%}" in night.stdout
    size = (project / "out" / "big" / "convert" / "network.kmodel").stat().st_size
    assert f"{size:,} bytes are {size - 2000:,} over the recipe's budget of 2,000" in night.stdout
    for file in ("summary.md", "summary.html"):
        said = (project / "nightly" / file).read_text()
        assert f"{before:.2%} → {now:.2%}" in said
        assert f"{size:,} bytes are {size - 2000:,} over" in said
    assert [entry.recipe for entry in ledger(project)[4:]] == NAMES

    before_again = seconds_of_children()
    again = kpufit(project, "nightly", "--json")
    assert seconds_of_children() - before_again < 15
    assert again.returncode == 1
    recipes = json.loads(again.stdout)["recipes"]
    assert [recipe["recomputed"] for recipe in recipes] == [[], [], []]
    assert [recipe["verdict"] for recipe in recipes] == ["same", "worse", "rejected"]

    taken = kpufit(project, "nightly", "bad", "--accept")
    assert taken.returncode == 0
    assert kpufit(project, "nightly", "ba*").returncode == 0
    assert [entry.verdict for entry in ledger(project)[-2:]] == ["worse", "same"]


def test_out_of_time_a_recipe_is_stopped_with_its_children(first_night: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(first_night, project, symlinks=True)
    change(project, "good", "train", epochs=500)
    change(project, "good", "nightly", max_minutes=0.1)
    stopped = kpufit(project, "nightly", "good", "bad", "--stop-at-first", "--json")
    assert stopped.returncode == 2, stopped.stderr
    told = json.loads(stopped.stdout)
    assert [recipe["verdict"] for recipe in told["recipes"]] == ["timed out"]
    assert told["recipes"][0]["reasons"][0].startswith("stopped after 0.1 minutes")
    assert told["left_out"] == ["bad"]
    assert_all_ended(project)


def test_a_recipe_that_cannot_run_does_not_keep_the_others_from_it(first_night: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(first_night, project, symlinks=True)
    change(project, "bad", "data", path="data/gone.npz")
    took = "import json, sys; print(json.load(sys.stdin)['counts'], file=open('told', 'w'))"
    done = kpufit(project, "nightly", "bad", "big", "--on-result", f'python3 -c "{took}"')
    assert done.returncode == 2
    assert "bad: failed: " in done.stdout
    assert "gone.npz" in done.stdout
    assert "; remedy: " in done.stdout, "two lines of an error do not run into one sentence"
    assert [entry.verdict for entry in ledger(project)[-2:]] == ["failed", "same"]
    assert (project / "told").read_text().strip() == "{'failed': 1, 'same': 1}"
    unsent = kpufit(project, "nightly", "big", "--on-result", "false")
    assert unsent.returncode == 2
    assert "false: ended with exit code 1" in unsent.stderr


def test_another_compiler_is_tried_beside_the_usual_one(
    first_night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    shutil.copytree(first_night, project, symlinks=True)
    usual = locked_nncase(project)
    assert usual is not None
    # Installing another takes a minute and a registry; the same one in another folder goes the same way.
    monkeypatch.setattr("pipeline.nightly.command.make_environments", lambda _folder, _trial, usual: usual)
    before = {path: path.read_bytes() for path in (project / "out").rglob("*") if path.is_file()}
    done = run_here(project, "nightly", "good", "--with", f"nncase={usual}")
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in (project / "out").rglob("*") if path.is_file()} == before
    last = ledger(project)[-1]
    assert (last.verdict, last.tried, last.baseline, last.recomputed) == ("same", {"nncase": usual}, False, ())
    assert f"Tried with nncase {usual}" in (project / "nightly" / "with" / f"nncase-{usual}" / "summary.md").read_text()
    assert "Tried with" not in (project / "nightly" / "summary.md").read_text()
    refused = run_here(project, "nightly", "--with", "numpy=1")
    assert "TOOL=VERSION" in str(refused.exception)


def test_what_another_version_touches_would_run_again_and_nothing_else(first_night: Path, tmp_path: Path) -> None:
    folder = tmp_path / "side"
    side_project(first_night, folder, {"nncase": "9.9"}, None)
    changed = json.loads(run(folder, BIN / "dvc", "status", "--json").stdout)
    assert {stage.partition("@")[0] for stage in changed} == {"search", "quantise", "convert", "evaluate"}
    assert "nncase==9.9" in (folder / "locks" / "nncase.lock").read_text()
    assert "nncase==9.9" not in (first_night / "locks" / "nncase.lock").read_text()
    side_project(first_night, folder, {"torch": "9.9"}, NNCASE)
    changed = json.loads(run(folder, BIN / "dvc", "status", "--json").stdout)
    assert "changed command" in changed["search@good"]
    assert {"changed deps": {"locks/kpufit.lock": "modified"}} in changed["train@good"]
    assert f"python: {NNCASE}" in (folder / "params.yaml").read_text()
