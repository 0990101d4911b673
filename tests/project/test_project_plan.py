"""`kpufit plan`: which stages would run and why, and sizes before anything is trained; nothing is run."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from projects import kpufit


def test_a_new_project_would_run_every_stage_and_fit(tmp_path: Path) -> None:
    assert kpufit(tmp_path, "init").returncode == 0
    planned = kpufit(tmp_path, "plan", "fashion-mnist-mini", "--json")
    assert planned.returncode == 0, planned.stderr
    values = json.loads(planned.stdout)
    assert values["stages"][0]["runs"] == "yes"
    assert all(stage["runs"] != "no" for stage in values["stages"])
    assert all(stage["why"] == ["no successful run so far"] for stage in values["stages"])
    given, replaced, pruned = (each["predicted"]["kmodel_bytes"] for each in values["networks"].values())
    recipe_file = tmp_path / "recipes" / "fashion-mnist-mini.yaml"
    recipe = yaml.safe_load(recipe_file.read_text())
    assert pruned <= recipe["target"]["model_bytes"] < replaced < given
    assert values["networks"]["as given"]["findings"]
    assert not (tmp_path / "out").exists()

    recipe["target"]["model_bytes"] = 2000
    recipe_file.write_text(yaml.safe_dump(recipe))
    rejected = kpufit(tmp_path, "plan", "fashion-mnist-mini")
    assert rejected.returncode == 1, rejected.stderr
    assert "FAIL model bytes" in rejected.stdout
    absent = kpufit(tmp_path, "plan", "absent")
    assert absent.returncode == 2
    assert "no such recipe" in absent.stderr
