"""Projects in temporary folders with a tiny recipe, and the real commands run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
NNCASE = ROOT / ".venv-nncase" / "bin" / "python"

TINY = {
    "seed": 0,
    "model": {"source": "zoo", "name": "convnet5x5", "width": 8},
    "data": {
        "name": "npz",
        "path": "data/bars.npz",
        "image": [1, 32, 32],
        "mean": [0.25],
        "std": [0.3],
        "labels": ["flat", "upright", "falling", "rising"],
        "validation": 80,
    },
    "target": {"firmware": "maixpy-full", "load": "sd", "model_bytes": 13000, "camera": "qvga", "lcd": True},
    "train": {"epochs": 6, "lr": 0.1, "batch": 32, "augment": []},
    "prune": {"importance": "group-taylor", "to_bytes": "auto", "finetune": {"epochs": 2, "distil": True}},
    "replace": {"max_drop": 0.05, "regression_steps": 40, "distil_steps": 40},
    "quantise": {"method": "auto", "calibration": {"images": 64}, "finetune": {"epochs": 1}},
    "gate": {"max_drop": 0.1, "min_accuracy": None},
    "search": None,
}

TRAIN_IMAGES, TEST_IMAGES = 480, 200


def make_folder(folder: Path) -> Path:
    """A project that stages can run in one by one, with the package of this checkout; without DVC."""
    for name in ("configs", "locks"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "recipes").mkdir()
    (folder / "data").mkdir()
    (folder / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    (folder / "params.yaml").write_text(f"recipes:\n  - tiny\npython: {sys.executable}\n")
    train, test = bars(TRAIN_IMAGES, seed=1), bars(TEST_IMAGES, seed=2)
    np.savez_compressed(
        folder / "data" / "bars.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1]
    )
    return folder


def make_project(folder: Path) -> Path:
    """A copy of what DVC reads of this checkout, with the tiny recipe as the only one."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    make_folder(folder)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run([BIN / "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True, capture_output=True)
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    with (folder / ".dvc" / "config").open("a") as config:
        config.write("    no_scm = true\n")
    return folder


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images N×1×32×32 of a bar in one of four directions, and which one."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    rows, columns = np.mgrid[0:32, 0:32] - 15.5
    images = np.empty((count, 1, 32, 32), np.uint8)
    for index, label in enumerate(labels):
        across = (rows, columns, (rows - columns) * 0.71, (rows + columns) * 0.71)[label]
        bar = np.abs(across - random.uniform(-6, 6)) < random.uniform(1.5, 4)
        images[index, 0] = np.clip(bar * random.uniform(90, 200) + random.normal(30, 25, (32, 32)), 0, 255)
    return images, labels.astype(np.int64)


def run(
    project: Path, *command: str | Path, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a project's folder, with this checkout's nncase unless ``environment`` names another."""
    return subprocess.run(
        command,
        cwd=project,
        env={"KPUFIT_NNCASE_PYTHON": str(NNCASE), **os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def kpufit(
    project: Path, *arguments: str, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a project's folder."""
    return run(project, BIN / "kpufit", *arguments, timeout=timeout, **environment)


def set_recipe(project: Path, section: str, **values: object) -> None:
    """Change keys of a section of the tiny recipe."""
    path = project / "recipes" / "tiny.yaml"
    section_now = yaml.safe_load(path.read_text())[section] or {}
    replace_section(project, section, {**section_now, **values})


def replace_section(project: Path, section: str, value: object) -> None:
    """Give the tiny recipe another section."""
    path = project / "recipes" / "tiny.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe[section] = value
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
