"""Carry MLPerf Tiny's ResNet8 through the stages: ``python -m benchmarks.resnet8``, from ``../shared``.

Its residual blocks become chains of wider convolutions that carry their own input (reserve-and-merge), nothing of it is
trained, and the kmodel is run bit for bit on all test images of CIFAR-10 (`kpufit data cifar-10` fetches them). Stages
that are done are not done again unless the pipeline or the network changed. ``resnet8.md`` shows what came of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import write_text
from pipeline.kpu.check import check_network
from pipeline.network.read import load_onnx
from pipeline.stages.layout import open_run
from pipeline.stages.results import read_results

ROOT = Path(__file__).parents[1]
MODEL = ROOT.parent / "shared" / "models" / "resnet8_cifar10.h5"
FOLDER = ROOT / "benchmarks" / ".cache" / "resnet8"
STAGES = ("train", "search", "prune", "replace", "quantise", "convert", "evaluate")
NAME = "merged"
RECIPE: dict[str, Any] = {
    "seed": 0,
    "model": {"source": "keras", "path": str(MODEL)},
    "data": {
        "name": "cifar-10",
        "path": None,
        "image": [3, 32, 32],
        "mean": [0.0],
        "std": [1 / 255],  # the network takes pixels as they are, 0 to 255
        "labels": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        "validation": 5000,
    },
    "target": {"firmware": "maixpy-full", "load": "sd", "camera": "qvga", "lcd": True},
    "train": None,
    "prune": None,
    "replace": {"max_drop": 0.005, "distil_steps": 500},
    "quantise": {"method": "ptq", "calibration": {"images": 256}, "finetune": None},
    "gate": {"max_drop": 0.005, "min_accuracy": None},
    "search": None,
}


def prepare(key: str) -> None:
    """Make the folder that the stages run in; one of another pipeline or network is emptied first."""
    mark = FOLDER / "key"
    if not mark.is_file() or mark.read_text() != key:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        for name in ("configs", "locks"):
            (FOLDER / name).symlink_to(ROOT / name)
        (FOLDER / "recipes").mkdir()
        (FOLDER / "data").symlink_to(ROOT / "data")
        mark.write_text(key)


def walk() -> dict[str, Any]:
    """Run the stages that are not done yet; return the row of results."""
    (FOLDER / "recipes" / f"{NAME}.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    run = open_run(FOLDER, NAME)
    nncase = os.environ.get("KPUFIT_NNCASE_PYTHON", str(ROOT / ".venv-nncase" / "bin" / "python"))
    for stage in STAGES:
        if not run.file(stage, "metrics.json").is_file():
            command = [sys.executable, "-m", "pipeline.stages", stage, NAME]
            subprocess.run(command, cwd=FOLDER, check=True, env={**os.environ, "KPUFIT_NNCASE_PYTHON": nncase})
    results = read_results(run)
    measured, converted = results.metrics["evaluate"], results.metrics["convert"]
    checked = check_network(load_onnx(run.made_by("replace", "network.onnx")))
    return {
        "network": "resnet8",
        "parameters": results.metrics["replace"]["parameters"],
        "float": measured["float_accuracy"],
        "replaced": measured["replaced_accuracy"],
        "kmodel": measured["kmodel_accuracy"],
        "kmodel_bytes": converted["kmodel_bytes"],
        "heap_bytes": converted["heap_bytes"],
        "off_the_kpu": [finding.layer for finding in checked.violations],
        "float_concats": sum(op.kind == "concat" for op in checked.prediction.program.cpu_ops),
    }


def _key() -> str:
    """What the results depend on: the pipeline's source and the network."""
    files = [*sorted((ROOT / "pipeline").rglob("*.py")), Path(__file__), MODEL]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _page(row: dict[str, Any]) -> str:
    return "\n".join(
        [
            "# MLPerf Tiny's ResNet8 on the KPU",
            "",
            "Made by `kpufit data cifar-10 && python -m benchmarks.resnet8` from "
            "`../shared/models/resnet8_cifar10.h5`, without any training. Accuracies are on "
            "all test images of CIFAR-10, the kmodel's bit for bit as nncase "
            "1.9's simulator gives it.",
            "",
            "| parameters | float | replaced | kmodel | kmodel bytes | heap | off the KPU | float concats |",
            "|---|---|---|---|---|---|---|---|",
            f"| {row['parameters']:,} | {row['float']:.2%} | {row['replaced']:.2%} | {row['kmodel']:.2%} | "
            f"{row['kmodel_bytes']:,} | {row['heap_bytes']:,} | "
            f"{', '.join(row['off_the_kpu']) or 'none but the head'} | {row['float_concats']} |",
            "",
        ]
    )


def main() -> None:
    """Run the stages, write the page and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not MODEL.is_file() or not (ROOT / "data" / "cache" / "cifar-10").is_dir():
        print(f"skipped: {MODEL} or CIFAR-10 is not there (`kpufit data cifar-10`)")
        return
    prepare(_key())
    row = walk()
    write_text(ROOT / "benchmarks" / "resnet8.md", _page(row))
    if not arguments.json:
        print(_page(row))
    print(json.dumps({"benchmark": "resnet8", "machine": _machine(), "results": [row]}))


def _machine() -> str:
    return f"{os.uname().machine}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    main()
