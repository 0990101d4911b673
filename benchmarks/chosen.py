"""Hold what the search chooses against the default recipe: ``python -m benchmarks.chosen`` writes ``chosen.md``.

Both recipes of `recipes/` run stage by stage with three seeds, in folders of their own, from the same trained network;
their kmodels are then judged on all 10,000 test images of Fashion-MNIST (`kpufit data fashion-mnist` fetches them), bit
for bit. No decision of either looks at them. What is done is not done again; a study goes on where it was left.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import read_json, write_json, write_text
from pipeline.recipe import load_recipe
from pipeline.stages.layout import Run, open_run
from pipeline.steps.quantise import kmodel_accuracy
from pipeline.training.data.heldout import load_test

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache" / "chosen"
RESULTS, PAGE = ROOT / "benchmarks" / "chosen.json", ROOT / "benchmarks" / "chosen.md"
DEFAULT, SEARCHED = "fashion-mnist-mini", "fashion-mnist-mini-search"
SEEDS = (0, 1, 2)
STAGES = ("train", "search", "prune", "replace", "quantise", "convert", "evaluate", "gate")


def folder_of(seed: int) -> Path:
    """Make the folder that both recipes run in with a seed."""
    folder = CACHE / str(seed)
    (folder / "recipes").mkdir(parents=True, exist_ok=True)
    for name in ("configs", "locks", "data"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for name in (DEFAULT, SEARCHED):
        values = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text()) | {"seed": seed}
        (folder / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return folder


def walk(run: Run, seconds: dict[str, float]) -> None:
    """Run the stages of a recipe that are not done yet; note how long each takes."""
    nncase = os.environ.get("KPUFIT_NNCASE_PYTHON", str(ROOT / ".venv-nncase" / "bin" / "python"))
    for stage in STAGES:
        if run.file(stage, "metrics.json").is_file():
            continue
        started = time.monotonic()
        command = [sys.executable, "-m", "pipeline.stages", stage, run.name]
        subprocess.run(command, cwd=run.root, check=True, env={**os.environ, "KPUFIT_NNCASE_PYTHON": nncase})
        seconds[f"{run.name}/{stage}"] = round(time.monotonic() - started, 1)


def measure(seed: int) -> dict[str, Any]:
    """Run both recipes with a seed and judge their kmodels on every test image."""
    root = folder_of(seed)
    timing = root / "seconds.json"
    seconds: dict[str, float] = read_json(timing) if timing.is_file() else {}
    row: dict[str, Any] = {"seed": seed}
    fresh = f"{SEARCHED}/search" in seconds or not (root / "studies").exists()
    for name in (DEFAULT, SEARCHED):
        run = open_run(root, name)
        trained = root / "out" / DEFAULT / "train"
        if name == SEARCHED and not run.file("train", "metrics.json").is_file():
            shutil.copytree(trained, run.file("train", "metrics.json").parent)  # equal sections, an equal network
        walk(run, seconds)
        write_json(timing, seconds)
        kmodel = run.made_by("convert", "network.kmodel").read_bytes()
        every = run.recipe.data.model_copy(update={"name": "fashion-mnist"})
        verdict = read_json(run.file("gate", "verdict.json"))
        row[name] = {
            "accuracy": kmodel_accuracy(kmodel, load_test(every, seed, ROOT), name),
            "kmodel_bytes": len(kmodel),
            "accepted": verdict["accepted"],
        }
    # Only of a search that ran from its start to its end here.
    row["search_seconds"] = seconds.get(f"{SEARCHED}/search") if fresh else None
    row["counts"] = read_json(open_run(root, SEARCHED).file("search", "report.json"))["counts"]
    return row


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page."""
    search = load_recipe(ROOT / "recipes" / f"{SEARCHED}.yaml").search
    assert search is not None
    lines = [
        "# What the search chooses, against the default recipe",
        "",
        "Made by `kpufit data fashion-mnist && make bench-chosen`. Accuracy of the kmodel on all 10,000 test images of "
        "Fashion-MNIST, bit for bit; both recipes learn from 4,500 images and decide by 500 others. The search is of "
        f"{search.trials} fully evaluated candidates, on {len(os.sched_getaffinity(0))} cores.",
        "",
        "| seed | default: accuracy | bytes | searched: accuracy | bytes | verdict | rejected untrained | "
        "stopped early | search, seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        default, searched, counts = row[DEFAULT], row[SEARCHED], row["counts"]
        lines.append(
            f"| {row['seed']} | {default['accuracy']:.2%} | {default['kmodel_bytes']:,} | {searched['accuracy']:.2%} | "
            f"{searched['kmodel_bytes']:,} | {'accepted' if searched['accepted'] else 'rejected'} | "
            f"{counts['rejected']} | {counts['stopped']} | {row['search_seconds'] or '–'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not done, write the page and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, action="append", choices=SEEDS, help="only these")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not (ROOT / "data" / "cache" / "fashion-mnist").is_dir():
        print("skipped: Fashion-MNIST is not there (`kpufit data fashion-mnist`)")
        return
    kept = {row["seed"]: row for row in read_json(RESULTS)} if RESULTS.is_file() else {}
    for seed in arguments.seed or SEEDS:
        kept[seed] = measure(seed)
        write_json(RESULTS, [kept[each] for each in sorted(kept)])
    rows = [kept[each] for each in sorted(kept)]
    write_text(PAGE, page(rows))
    print(page(rows))
    if arguments.json:
        print(json.dumps({"benchmark": "chosen", "machine": os.uname().machine, "results": rows}))


if __name__ == "__main__":
    main()
