"""A recipe with a search, from nothing to an accepted kmodel; what was measured is what is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from projects import kpufit, make_project, replace_section, set_recipe

pytestmark = pytest.mark.nncase

TRIALS = 3
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("searched"))
    set_recipe(project, "target", model_bytes=9000)
    set_recipe(project, "quantise", method="ptq")
    replace_section(project, "search", {"trials": TRIALS})
    done = kpufit(project, "run", **ONE_THREAD)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_the_pipeline_goes_on_with_what_was_chosen(searched: Path) -> None:
    out = searched / "out" / "tiny"
    report = json.loads((out / "search" / "report.json").read_text())
    chosen = yaml.safe_load((out / "search" / "chosen.yaml").read_text())
    point = next(point for point in report["points"] if point["number"] == report["chosen"])
    assert report["counts"]["evaluated"] == len(report["points"]) == TRIALS
    assert chosen["prune"]["keep"] == {
        name.removeprefix("keep."): value for name, value in point["params"].items() if name.startswith("keep.")
    }
    groups = json.loads((out / "prune" / "report.json").read_text())["groups"]
    assert {group["name"]: group["after"] for group in groups} == chosen["prune"]["keep"]


def test_the_kmodel_is_byte_for_byte_the_trials(searched: Path) -> None:
    """With as many threads; with others, training rounds otherwise."""
    out = searched / "out" / "tiny"
    report = json.loads((out / "search" / "report.json").read_text())
    point = next(point for point in report["points"] if point["number"] == report["chosen"])
    (artifact,) = searched.glob(f"studies/tiny-*/artifacts/{point['kmodel']}")
    assert (out / "convert" / "network.kmodel").read_bytes() == artifact.read_bytes()
    validation = json.loads((out / "quantise" / "metrics.json").read_text())["validation_accuracy"]
    assert validation == point["accuracy"]


def test_a_finished_study_is_not_run_again(searched: Path) -> None:
    again = kpufit(searched, "search", "tiny", "--json")
    assert again.returncode == 0, again.stderr
    report = json.loads((searched / "out" / "tiny" / "search" / "report.json").read_text())
    assert json.loads(again.stdout) == report


def test_any_trial_becomes_a_recipe(searched: Path) -> None:
    report = json.loads((searched / "out" / "tiny" / "search" / "report.json").read_text())
    number = report["front"][0]
    for _ in range(2):
        done = kpufit(searched, "search", "tiny", "--apply", str(number), "--json")
        assert done.returncode == 0, done.stderr
    recipe = yaml.safe_load((searched / "recipes" / f"tiny-trial-{number}.yaml").read_text())
    assert recipe["search"] is None
    assert recipe["prune"]["keep"]
    assert kpufit(searched, "add", f"tiny-trial-{number}").returncode == 0
    refused = kpufit(searched, "search", "tiny", "--apply", "999")
    assert refused.returncode == 2
    assert "999" in refused.stderr
    assert "remedy" in refused.stderr


def test_a_recipe_without_a_search_says_so(finished: Path) -> None:
    refused = kpufit(finished, "search", "tiny")
    assert refused.returncode == 2
    assert "search: {trials: 24}" in refused.stderr
