"""The main job on the tiny recipe: from nothing to an accepted kmodel, and what reruns when something changes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from projects import kpufit, make_project, set_recipe

from pipeline.stages.layout import STAGES

pytestmark = pytest.mark.nncase


def ran(stderr_and_stdout: str) -> list[str]:
    """The stages that DVC ran, by its own words."""
    return [stage for stage in STAGES if f"Running stage '{stage}@tiny'" in stderr_and_stdout]


def everything(project: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (project / "out").rglob("*") if path.is_file()}


def verdict_of(project: Path) -> dict[str, Any]:
    verdict: dict[str, Any] = json.loads((project / "out/tiny/gate/verdict.json").read_text())
    return verdict


def test_every_stage_writes_what_it_promises(finished: Path) -> None:
    out = finished / "out" / "tiny"
    for stage in STAGES[:-2]:
        metrics = json.loads((out / stage / "metrics.json").read_text())
        assert all(isinstance(value, int | float) for value in metrics.values())
        assert (out / stage / "report.json").is_file()
    verdict = verdict_of(finished)
    assert verdict["accepted"] is True
    assert verdict["kmodel_bytes"] == (out / "convert" / "network.kmodel").stat().st_size <= 13000
    assert verdict["cpu_ops"] == [] or "conv2d" not in " ".join(verdict["cpu_ops"]).lower()
    evaluated = json.loads((out / "evaluate" / "metrics.json").read_text())
    assert evaluated["kmodel_accuracy"] > 0.8
    assert abs(evaluated["kmodel_accuracy"] - evaluated["float_accuracy"]) <= 0.1


def test_the_table_has_a_row_a_stage_and_the_verdict(finished: Path) -> None:
    table = kpufit(finished, "summary")
    assert table.returncode == 0
    for word in ("train", "prune", "replace", "quantise", "convert", "accepted"):
        assert word in table.stdout
    (summary,) = json.loads(kpufit(finished, "summary", "--json").stdout)
    assert summary["stages"][-1]["verdict"] == "accepted"


def test_a_second_run_does_nothing(project: Path) -> None:
    before, start = everything(project), time.monotonic()
    again = kpufit(project, "run")
    assert again.returncode == 0
    assert ran(again.stderr) == []
    assert time.monotonic() - start < 20  # loose: the machine may be busy; idle it takes under 5 s
    assert everything(project) == before


@pytest.mark.parametrize(
    ("section", "change", "expected"),
    [
        ("gate", {"max_drop": 0.09}, ["gate", "report", "accept"]),
        ("replace", {"max_drop": 0.06}, ["search", "prune", "replace"]),  # prune's bytes are those after replace
    ],
)
def test_a_change_reruns_what_it_touches(
    project: Path, section: str, change: dict[str, object], expected: list[str]
) -> None:
    set_recipe(project, section, **change)
    again = kpufit(project, "run")
    assert again.returncode == 0, again.stderr
    assert ran(again.stderr)[: len(expected)] == expected
    assert "train" not in ran(again.stderr)


def test_an_edited_firmware_profile_gates_again(project: Path) -> None:
    profile = project / "configs" / "firmware" / "maixpy-full.yaml"
    profile.write_text(profile.read_text() + "# looked at again\n")
    again = kpufit(project, "run")
    assert again.returncode == 0, again.stderr
    assert "gate" in ran(again.stderr)
    assert "train" not in ran(again.stderr)


def test_another_nncase_converts_again(project: Path) -> None:
    lock = project / "locks" / "nncase.lock"
    lock.write_text(lock.read_text() + "# another build\n")
    again = kpufit(project, "run")
    assert again.returncode == 0, again.stderr
    assert "convert" in ran(again.stderr)
    assert "replace" not in ran(again.stderr)


def test_a_budget_below_any_pruning_is_rejected_with_remedies(project: Path) -> None:
    set_recipe(project, "target", model_bytes=2000)
    rejected = kpufit(project, "run")
    assert rejected.returncode == 1, rejected.stderr
    assert "rejected" in rejected.stdout
    assert "remedy 1" in rejected.stderr
    verdict = verdict_of(project)
    assert verdict["accepted"] is False
    assert "<strong>rejected</strong>" in (project / "out/tiny/report.html").read_text()
    assert (project / "out/tiny/convert/network.kmodel").is_file()


def test_the_same_network_for_a_firmware_that_loads_v3_is_as_accurate(project: Path) -> None:
    assert verdict_of(project)["kmodel_version"] == 4
    assert json.loads((project / "out/tiny/convert/report.json").read_text())["calls"] == [
        "kpu.set_outputs(task, 0, 1, 1, 4)"
    ]
    before = json.loads((project / "out/tiny/evaluate/metrics.json").read_text())
    set_recipe(project, "target", firmware="maixpy-minimum")
    again = kpufit(project, "run")
    assert again.returncode == 0, again.stderr
    assert verdict_of(project)["kmodel_version"] == 3
    assert json.loads((project / "out/tiny/evaluate/metrics.json").read_text()) == before


def test_a_version_that_the_firmware_does_not_load_is_rejected_with_both_remedies(project: Path) -> None:
    set_recipe(project, "target", kmodel=5)
    rejected = kpufit(project, "run")
    assert rejected.returncode == 1, rejected.stderr
    assert "kmodel v5, but maixpy-full loads v3, v4" in rejected.stderr
    (check,) = [check for check in verdict_of(project)["checks"] if not check["ok"]]
    assert check["name"] == "kmodel version"
    assert len(check["remedies"]) == 2


def test_same_seed_same_numbers_and_same_tflite_same_kmodel(finished: Path, tmp_path: Path) -> None:
    again = make_project(tmp_path / "again")
    assert kpufit(again, "run").returncode == 0
    for stage in ("train", "prune", "replace"):
        for name in ("metrics.json", "network.onnx"):
            one, two = (folder / "out/tiny" / stage / name for folder in (finished, again))
            assert one.read_bytes() == two.read_bytes(), (stage, name)
    tflite = [folder / "out/tiny/quantise/network.tflite" for folder in (finished, again)]
    if tflite[0].read_bytes() == tflite[1].read_bytes():
        kmodels = [(folder / "out/tiny/convert/network.kmodel").read_bytes() for folder in (finished, again)]
        assert kmodels[0] == kmodels[1]
