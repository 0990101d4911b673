"""Measure the search against a random one that sizes nothing: ``python -m benchmarks.search`` writes ``search.md``.

Two data sets of 5,000 images, three seeds each. Optuna's random sampler trains whatever it draws, at full effort, and
learns only from the kmodel whether it fits; it has all of the time. kpufit's search, with its first candidates, its
predictor and its rungs, has a third of it. Time is CPU seconds of one core, so that other work on the machine favours
neither. Both draw from the same space, start from the same trained network, with one thread and an empty cache. What is
compared is the hypervolume: the area of accuracy (on validation images) above chance times the share of the budget that
is left, under the candidates that fit. Every run is kept in ``search.json`` as soon as it has ended, and is not
repeated: its key is a hash of the recipe, the seed, the seconds and the source of the search.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import hashlib
import json
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import optuna
import torch

from pipeline.compiler.environment import find_nncase
from pipeline.files import read_json, write_bytes, write_json, write_text
from pipeline.firmware.profile import load_profile
from pipeline.network.contract import InputContract
from pipeline.network.trace import trace
from pipeline.network.zoo import build
from pipeline.recipe import Recipe, parse
from pipeline.report.search_results import area_under
from pipeline.search.begin import begin
from pipeline.search.problem import Problem
from pipeline.search.study import finished, open_study, place_of, sampler_of
from pipeline.search.worker import How, work
from pipeline.stages.networks import Network, load_network, onnx_bytes
from pipeline.training.data.load import load_training
from pipeline.training.loop import FitSettings, fit

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache" / "search"
RESULTS, PAGE = ROOT / "benchmarks" / "search.json", ROOT / "benchmarks" / "search.md"
SEEDS = (0, 1, 2)
SECONDS = 360
OURS, RANDOM = "kpufit", "random"
SHARE = {OURS: 1 / 3, RANDOM: 1.0}
"""Of the seconds, that each has."""

_SUBSET = 5000
_CHANCE = 0.1  # ten classes
_SOURCES = {RANDOM: ("evaluate", "problem", "size", "space")}
_SOURCES[OURS] = (*_SOURCES[RANDOM], "begin", "even", "rungs", "sensitivity", "worker")
"""Modules of the search that decide what comes of it."""
_SECTIONS: dict[str, Any] = {
    "model": {"source": "zoo", "name": "convnet5x5", "width": 32},
    "train": {"epochs": 20, "lr": 0.1, "batch": 64, "augment": ["flip", "shift"]},
    "prune": {"importance": "group-taylor", "to_bytes": "auto", "finetune": {"epochs": 2, "lr": 0.03, "distil": True}},
    "replace": {"max_drop": 0.01, "regression_steps": 100, "distil_steps": 50},
    "quantise": {"method": "auto", "calibration": {"images": 256}, "finetune": {"epochs": 1}},
    "gate": {"max_drop": 0.015, "min_accuracy": None},
    "search": {"trials": 10_000},
}
"""Of both recipes. The budget is about half of what the whole network needs: so some candidates fit and some do not."""

DATA: dict[str, dict[str, Any]] = {
    "fashion-mnist-mini": {
        "data": {
            "name": "fashion-mnist-mini",
            "path": None,
            "image": [1, 32, 32],
            "mean": [0.286],
            "std": [0.353],
            "labels": [f"class {number}" for number in range(10)],
            "validation": 500,
        },
        "target": {"firmware": "maixpy-full", "model_bytes": 36_000},
    },
    "cifar-10-subset": {
        "data": {
            "name": "npz",
            "path": "cifar-10-subset.npz",
            "image": [3, 32, 32],
            "mean": [0.473],
            "std": [0.251],
            "labels": [f"class {number}" for number in range(10)],
            "validation": 500,
        },
        "target": {"firmware": "maixpy-full", "model_bytes": 36_000},
    },
}


def recipe_of(data: str, seed: int) -> Recipe:
    """Return the recipe of one run."""
    return parse(Recipe, {"seed": seed, **_SECTIONS, **DATA[data]}, where=data)


def problem_of(data: str, seed: int) -> Problem:
    """Return what is searched, its network trained once for both."""
    recipe = recipe_of(data, seed)
    _subset()
    training = load_training(recipe.data, seed, CACHE if recipe.data.name == "npz" else ROOT)
    path = CACHE / f"{data}-{seed}.onnx"
    contract = InputContract(recipe.data.image, recipe.data.channel_mean, recipe.data.channel_std)
    if not path.is_file():
        torch.manual_seed(seed)
        graph = trace(build("convnet5x5", recipe.data.image, len(recipe.data.labels), 32))
        train = recipe.train
        assert train is not None
        settings = FitSettings(train.epochs, train.lr, train.batch, augment=tuple(train.augment))
        fit(graph, training.train, contract, settings, seed=seed, title=f"training {data}, seed {seed}")
        write_bytes(path, onnx_bytes(Network(graph, contract)))
    network = load_network(path).graph
    profile = load_profile(recipe.target.firmware, ROOT)
    return Problem(recipe, network, contract, training, profile, max(profile.versions), find_nncase(ROOT))


def _subset() -> None:
    """Write 5,000 training images of CIFAR-10, each class in proportion of chance; the test part is not used."""
    path = CACHE / "cifar-10-subset.npz"
    if path.is_file():
        return
    with np.load(ROOT / "data" / "cache" / "cifar-10" / "data.npz", allow_pickle=False) as source:
        names = set(source.files)
        images, labels = source["x_train"], source["y_train"]
        assert {"x_test", "y_test"} <= names
        test, test_labels = source["x_test"][:100], source["y_test"][:100]  # npz data needs a test part; never read
    rows = np.random.default_rng(0).permutation(len(images))[:_SUBSET]
    CACHE.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=images[rows], y_train=labels[rows], x_test=test, y_test=test_labels)


def run(data: str, seed: int, sampler: str, seconds: float) -> dict[str, Any]:
    """Search once, for so many seconds; return what was found, and when."""
    torch.set_num_threads(1)
    problem = problem_of(data, seed)
    with tempfile.TemporaryDirectory(prefix="kpufit-search-") as folder:
        place = place_of(Path(folder), f"{data}-{sampler}", problem.identity, "sqlite")
        assert problem.recipe.search is not None
        begun = cpu_seconds()
        chosen = sampler_of(seed) if sampler == OURS else optuna.samplers.RandomSampler(seed=seed)
        study = open_study(place, problem.recipe.search.objectives, chosen)
        store = _Clock(begun, seconds)
        how = How(trials=10_000)
        if sampler == OURS:
            problem.prepare()
            begin(dataclasses.replace(problem, recipe=_few(problem.recipe)), study)
        else:
            how = dataclasses.replace(how, rungs=1, sized=False)
        with contextlib.suppress(_TimeIsUpError):
            work(problem, study, place, how, store)
        trials = study.get_trials(deepcopy=False)
    found = [trial.user_attrs for trial in finished(trials)]
    points = [[store.at[each["kmodel"]], each["accuracy"], each["kmodel_bytes"]] for each in found]
    return {"points": points, "candidates": len(trials), "budget_bytes": problem.budget}


class _TimeIsUpError(Exception):
    """The seconds of a run are spent."""


class _Clock:
    """An artifact store that keeps nothing but the time at which each kmodel was there, and ends the run in time."""

    def __init__(self, begun: float, seconds: float) -> None:
        self.begun, self.seconds = begun, seconds
        self.at: dict[str, float] = {}

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Note the time. Raises _TimeIsUpError: what comes now is too late."""
        when = cpu_seconds() - self.begun
        if when > self.seconds:
            raise _TimeIsUpError
        self.at[artifact_id] = round(when, 1)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Refuse: nothing is kept."""
        raise KeyError(artifact_id)

    def remove(self, artifact_id: str) -> None:
        """Forget the time."""
        self.at.pop(artifact_id, None)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the children that ended: of one thread each, on one core."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def _few(recipe: Recipe) -> Recipe:
    """The recipe as of a search of 24 trials: its first third are set."""
    assert recipe.search is not None
    return recipe.model_copy(update={"search": recipe.search.model_copy(update={"trials": 24})})


def hypervolume(points: Sequence[tuple[float, float, int]], budget: int) -> float:
    """Return the area under what a run found: for each point its seconds, accuracy and bytes."""
    return area_under([(size, accuracy) for _, accuracy, size in points], budget, _CHANCE)


def key_of(data: str, seed: int, sampler: str, seconds: float) -> str:
    """Return the key of a run."""
    texts = [(ROOT / "pipeline" / "search" / f"{name}.py").read_text() for name in _SOURCES[sampler]]
    sources = [ast.dump(ast.parse(text)).encode() for text in texts]  # comments and lines do not count
    recipe = json.dumps(recipe_of(data, seed).model_dump(mode="json"), sort_keys=True).encode()
    held = (recipe, sampler.encode(), str(seconds).encode(), *sources)
    return hashlib.sha256(b"\0".join(held)).hexdigest()[:16]


def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runs as machines read them."""
    return [
        {
            "data": each["data"],
            "seed": each["seed"],
            "seconds": each["seconds"],
            "sampler": each["sampler"],
            "hypervolume": round(hypervolume(each["points"], each["budget_bytes"]), 4),
            "evaluated": len(each["points"]),
            "candidates": each["candidates"],
        }
        for each in results.values()
    ]


def page(results: dict[str, Any]) -> str:
    """Return the page."""
    found = {(row["data"], row["seed"], row["sampler"]): row for row in rows(results)}
    lines = [
        "# The search against a random one",
        "",
        "Made by `make bench-search` (resumable; `benchmarks/search.json` holds every candidate). "
        f"{__doc__.split(chr(10) * 2, 1)[1].strip()}".replace("\n", " "),
        "",
        "| data | seed | random: s | evaluated | hypervolume | kpufit: s | evaluated (drawn) | hypervolume |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data in DATA:
        for seed in SEEDS:
            random, ours = found.get((data, seed, RANDOM)), found.get((data, seed, OURS))
            if random and ours:
                theirs = f"{random['seconds']:.0f} | {random['evaluated']} | {random['hypervolume']:.4f}"
                drawn = f"{ours['evaluated']} ({ours['candidates']})"
                lines.append(
                    f"| {data} | {seed} | {theirs} | {ours['seconds']:.0f} | {drawn} | {ours['hypervolume']:.4f} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that the random sampler has")
    parser.add_argument("--data", choices=[*DATA], action="append", help="only these")
    parser.add_argument("--one", nargs=3, metavar=("DATA", "SEED", "SAMPLER"), help="one run, printed as JSON")
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    arguments = parser.parse_args()
    if arguments.one:
        data, seed, sampler = arguments.one
        print(json.dumps(run(data, int(seed), sampler, arguments.seconds * SHARE[sampler])))
        return
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {}
    wanted = {}
    for data in DATA:
        for seed in SEEDS:
            for sampler in (RANDOM, OURS):
                seconds = arguments.seconds * SHARE[sampler]
                key = key_of(data, seed, sampler, seconds)
                wanted[key] = {"data": data, "seed": seed, "sampler": sampler, "seconds": seconds}
    results = {key: each for key, each in results.items() if key in wanted}
    for key, each in wanted.items():
        if key not in results and each["data"] in (arguments.data or DATA):
            problem_of(each["data"], each["seed"])  # trains the network outside the time
            # A process of its own: nothing that one run loaded or compiled helps the next.
            command = [sys.executable, "-m", "benchmarks.search", "--seconds", str(arguments.seconds)]
            command += ["--one", each["data"], str(each["seed"]), each["sampler"]]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[key] = each | json.loads(done.stdout.splitlines()[-1])
            write_json(RESULTS, results)
            row = rows({key: results[key]})[0]
            print(f"{row['data']} seed {row['seed']} {row['sampler']}: {row['hypervolume']:.4f}", flush=True)
    write_text(PAGE, page(results))
    if arguments.json:
        print(json.dumps({"benchmark": "search", "machine": platform.processor(), "results": rows(results)}))


if __name__ == "__main__":
    main()
