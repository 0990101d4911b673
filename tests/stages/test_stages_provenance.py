"""What the page says of where its results come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.files import sha256
from pipeline.stages.layout import Run, open_run
from pipeline.stages.manifest import manifest_path, refresh_manifests
from pipeline.stages.provenance import provenance


@pytest.fixture
def run(project: Path) -> Run:
    return open_run(project, "tiny")


def git(run: Run, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *identity, *arguments], cwd=run.root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_the_last_that_touched_what_the_stages_read(run: Run) -> None:
    assert provenance(run)["git commit"] == "not under git"
    git(run, "init", "-q")
    assert provenance(run)["git commit"] == "not under git"  # there is no commit yet
    git(run, "add", "recipes", "configs", "locks")
    git(run, "commit", "-qm", "one")
    first = git(run, "rev-parse", "HEAD")
    assert provenance(run)["git commit"] == first
    (run.root / "notes.txt").write_text("nothing that a stage reads")
    git(run, "add", "notes.txt")
    git(run, "commit", "-qm", "two")
    assert provenance(run)["git commit"] == first
    run.recipe_file.write_text(run.recipe_file.read_text() + "# changed\n")
    assert provenance(run)["git commit"] == f"{first}, with changes since that are not committed"


def test_data_is_told_by_its_checksums(run: Run) -> None:
    assert provenance(run)["data"] == "npz, checksums unknown"
    refresh_manifests(run.root, ["tiny"])
    found = provenance(run)
    assert found["SHA-256 of bars.npz"] == sha256(run.root / "data" / "bars.npz")
    assert found["SHA-256 of all checksums"] == sha256(manifest_path(run.root, "tiny"))


def test_versions_and_seed_are_there(run: Run) -> None:
    found = provenance(run)
    assert found["seed"] == "0"
    assert found["nncase"].startswith("1.9")
    assert {"kpufit", "torch", "Python"} <= set(found)
