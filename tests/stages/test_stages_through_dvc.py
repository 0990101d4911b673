"""``kpufit run`` tells a stage that failed (2) from a kmodel that was rejected (1), which DVC itself does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from projects import BIN, TINY, kpufit, make_project, replace_section, run

from pipeline.stages.manifest import refresh_manifests

REJECTED = {
    "accepted": False,
    "firmware": "c-sdk-develop",
    "kmodel_version": 5,
    "checks": [{"name": "memory", "ok": False, "message": "9 bytes over", "by": [], "remedies": ["prune harder"]}],
    "kmodel_bytes": 9,
}


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("through-dvc"))


@pytest.fixture
def project(_template: Path, tmp_path: Path) -> Path:
    """A project with DVC, in which nothing has run."""
    return shutil.copytree(_template, tmp_path / "project")


def outputs(project: Path) -> Iterator[Path]:
    """Every file that dvc.yaml says the stages write."""
    for declared in yaml.safe_load((project / "dvc.yaml").read_text())["stages"].values():
        for kind in ("outs", "metrics", "plots"):
            for entry in declared["do"].get(kind, []):
                name = entry if isinstance(entry, str) else next(iter(entry))
                yield project / name.replace("${item}", "tiny")


def pretend_to_have_run(project: Path, verdict: dict[str, object]) -> None:
    """Write outputs for every stage, tell DVC that they are up to date, and leave only ``accept`` to run."""
    chosen = {section: TINY[section] for section in ("prune", "replace", "quantise")}
    contents = {"chosen.yaml": yaml.safe_dump(chosen), "verdict.json": json.dumps(verdict)}
    refresh_manifests(project, ["tiny"])
    for path in outputs(project):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents.get(path.name, "{}"))
    done = run(project, BIN / "dvc", "commit", "--force", "--with-deps", "report@tiny")
    assert done.returncode == 0, done.stderr


def test_a_stage_that_fails_gives_2_and_its_message(project: Path) -> None:
    (project / "users.onnx").write_bytes(b"garbage" * 99)
    replace_section(project, "model", {"source": "onnx", "path": "users.onnx"})
    replace_section(project, "train", None)
    done = kpufit(project, "run")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    message = f"kpufit train: {project}/users.onnx: is truncated, or not an ONNX file\n  remedy: "
    assert done.stderr.count(message) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Running stage 'search@tiny'" not in done.stderr
    assert [path.name for path in (project / "out").rglob("*") if path.is_file()] == [".lock"]


@pytest.mark.parametrize(("accepted", "code"), [(False, 1), (True, 0)])
def test_a_rejection_gives_1_with_the_reason_and_the_table(project: Path, accepted: bool, code: int) -> None:
    pretend_to_have_run(project, {**REJECTED, "accepted": accepted})
    done = kpufit(project, "run")
    assert done.returncode == code, done.stderr
    assert ("9 bytes over" in done.stderr) is not accepted
    assert ("remedy 1: prune harder" in done.stderr) is not accepted
    assert "Traceback" not in done.stderr
    assert ("accepted" if accepted else "rejected") in done.stdout
    assert [line for line in done.stderr.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'accept@tiny':"
    ]


def test_a_folder_without_dvc_gives_2(project: Path) -> None:
    shutil.rmtree(project / ".dvc")
    done = kpufit(project, "run")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "DVC" in done.stderr
