"""`kpufit init`: what it writes, what it refuses, and that it really runs, from another folder, to acceptance."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from projects import BIN, TEST_IMAGES, TRAIN_IMAGES, bars, kpufit, run

from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.network.zoo import build
from pipeline.stages.layout import STAGES
from pipeline.stages.sources import CHECKSUMS, refresh_sources
from pipeline.training.data.sets import DataSet
from pipeline.training.loop import FitSettings, fit

CLASSES = 4


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network and its images, as a user has them."""
    folder = tmp_path_factory.mktemp("own")
    train, test = bars(TRAIN_IMAGES, seed=1), bars(TEST_IMAGES, seed=2)
    np.savez(folder / "bars.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    contract = InputContract((1, 32, 32), (0.25,), (0.3,))
    torch.manual_seed(0)
    network = trace(build("convnet5x5", contract.image, CLASSES, 8))
    fit(network, DataSet(*train), contract, FitSettings(epochs=6, lr=0.1, batch=32), seed=0, title="train")
    (folder / "bars.onnx").write_bytes(to_onnx(network, contract).SerializeToString())
    return folder


def init_own(project: Path, own_files: Path) -> subprocess.CompletedProcess[str]:
    project.parent.mkdir(exist_ok=True, parents=True)
    given = ("--model", str(own_files / "bars.onnx"), "--data", str(own_files / "bars.npz"))
    return kpufit(project.parent, "init", str(project), *given, "--firmware", "maixpy-full")


@pytest.mark.nncase
def test_a_project_of_ones_own_runs_to_acceptance(own_files: Path, tmp_path: Path) -> None:
    project = tmp_path / "board"
    made = init_own(project, own_files)
    assert made.returncode == 0, made.stderr
    recipe_file = project / "recipes" / "bars.yaml"
    recipe = yaml.safe_load(recipe_file.read_text())
    assert recipe["data"]["mean"] == [0.25], "the file's own normalisation"
    assert len(recipe["data"]["labels"]) == CLASSES
    recipe["target"]["model_bytes"] = 13000
    recipe["prune"]["finetune"]["epochs"] = 2
    recipe["replace"] = {"max_drop": 0.05, "regression_steps": 40, "distil_steps": 40}
    recipe["quantise"] = {"method": "ptq", "calibration": {"images": 64}, "finetune": None}
    recipe["gate"]["max_drop"] = 0.1
    recipe_file.write_text(yaml.safe_dump(recipe))
    done = run(project, BIN / "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((project / "out/bars/gate/verdict.json").read_text())["accepted"]
    planned = json.loads(kpufit(project, "plan", "bars", "--json").stdout)
    predicted = planned["networks"]["pruned and replaced"]["predicted"]
    assert [(stage["runs"], stage["why"]) for stage in planned["stages"]] == [("no", [])] * len(STAGES)
    assert predicted["kmodel_bytes"] <= recipe["target"]["model_bytes"]
    again = kpufit(project, "run", "--json")
    assert again.returncode == 0, again.stderr
    assert "Running stage 'train" not in again.stderr
    assert "Running stage 'report" not in again.stderr
    (project / "models" / "bars.onnx").write_bytes(b"no network")
    broken = kpufit(project, "run")
    assert broken.returncode == 2
    assert "Running stage 'train" in broken.stderr, "another network is seen"


def test_the_default_is_the_recipe_that_ships(tmp_path: Path) -> None:
    made = kpufit(tmp_path, "init", "--firmware", "canmv", "--json")
    assert made.returncode == 0, made.stderr
    written = json.loads(made.stdout)
    assert all((tmp_path / name).is_file() for name in written["files"])
    recipe = yaml.safe_load((tmp_path / "recipes" / f"{written['recipe']}.yaml").read_text())
    assert recipe["target"]["firmware"] == "canmv"
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())["recipes"] == [written["recipe"]]
    stages = yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]
    watched = {dep for stage in stages.values() for dep in stage["do"].get("deps", []) if not dep.startswith("out/")}
    assert not [dep for dep in watched if "${" not in dep and not (tmp_path / dep).exists()]
    again = kpufit(tmp_path, "init")
    assert again.returncode == 2
    assert "holds a project already" in again.stderr


def test_an_upgrade_is_seen_by_the_parts_that_it_touches(tmp_path: Path) -> None:
    assert kpufit(tmp_path, "init").returncode == 0
    part = tmp_path / CHECKSUMS / "kpu.sha256"
    now = part.read_text()
    part.write_text("of an older kpufit\n")
    refresh_sources(tmp_path)
    assert part.read_text() == now


def test_bad_input_leaves_no_project(own_files: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x_train=bars(9, 0)[0], y_train=bars(9, 0)[1])
    model = str(own_files / "bars.onnx")
    for data, firmware, said in (
        ("few.npz", "maixpy-full", "too few"),
        ("absent", "maixpy-full", "no such file"),
        ("few.npz", "other", "no firmware"),
    ):
        refused = kpufit(tmp_path, "init", "new", "--model", model, "--data", data, "--firmware", firmware)
        assert refused.returncode == 2
        assert said in refused.stderr
        assert not (tmp_path / "new" / "params.yaml").exists()
    kept = tmp_path / "mine" / "configs" / "firmware" / "maixpy-full.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine\n")
    assert kpufit(tmp_path, "init", "mine").returncode == 2
    assert kept.read_text() == "mine\n"
