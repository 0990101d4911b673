"""Measure replacement on the trained zoo: ``python -m benchmarks.replacement [NAME…]``.

Each network of ``benchmarks/zoo`` is replaced by every rule, its learned blocks fitted and the whole distilled for at
most three epochs, then once more with random weights in place of the rules' initialisation, regression and all else
alike. Decisions are taken on validation images; test images are read once, at the end. ``benchmarks/replacement.json``
keeps what was measured, ``replacement.md`` shows it. A network that is there is not measured again, unless its file or
the set of rules changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._zoo_networks import ARCHITECTURES
from benchmarks.zoo import DATA, FOLDER, ROOT, SEED, load, load_results
from pipeline.files import read_json, sha256, write_json, write_text
from pipeline.kpu.check import check_network
from pipeline.network.lower import to_onnx
from pipeline.recipe import Replace
from pipeline.replacement.apply import Replaced, replace_network
from pipeline.replacement.rule import Match, Rule, Site
from pipeline.replacement.rules import all_rules
from pipeline.training.accuracy import accuracy
from pipeline.training.data.heldout import load_test
from pipeline.training.data.load import calibration_images, load_training
from pipeline.training.data.sets import DataSet, Training

RESULTS = ROOT / "benchmarks" / "replacement.json"
PAGE = ROOT / "benchmarks" / "replacement.md"
CALIBRATION = 256
BATCH = 64
POINT = 0.01


def random_start(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    """Give a chain the random weights that training would start from (He et al., arXiv 1502.01852)."""
    torch.manual_seed(seed)
    for layer in chain.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def measure(name: str, data: Training, test: DataSet) -> dict[str, Any]:
    """Replace one network, both ways, and return its entry of the results."""
    network, contract = load(name)
    settings = Replace(max_drop=POINT, regression_steps=300, distil_steps=len(data.train) // BATCH)
    calibration = calibration_images(data, SEED, CALIBRATION)

    def replaced(rules: tuple[Rule, ...]) -> tuple[Replaced, float]:
        began = time.perf_counter()
        done = replace_network(
            network, contract, calibration, data.train, data.validation, settings, seed=SEED, rules=rules
        )
        return done, time.perf_counter() - began

    learned, seconds = replaced(all_rules())
    report = learned.report
    before, after = (
        check_network(to_onnx(net, own)) for net, own in ((network, contract), (learned.network, learned.contract))
    )
    entry: dict[str, Any] = {
        "data": ARCHITECTURES[name].data,
        "key": key(name),
        "rules": dict(Counter(tried.rule for layer in report.layers for tried in layer.tried if tried.taken)),
        "validation": dataclasses.asdict(report.accuracy),
        "test_before": accuracy(network, test, contract),
        "test_after": accuracy(learned.network, test, learned.contract),
        "distil_steps": report.distil_steps,
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "kmodel_bytes": [before.prediction.kmodel_bytes, after.prediction.kmodel_bytes],
        "cycles": [sum(layer.cycles or 0 for layer in each.prediction.layers) for each in (before, after)],
        "cpu_before": sum(layer.unit == "cpu" and layer.name not in before.head for layer in before.prediction.layers),
        "left": [f"{finding.layer}: {finding.rule}" for finding in after.violations],
        "notes": list(report.notes),
    }
    if report.accuracy.after_regression is not None:
        blind = tuple(
            dataclasses.replace(rule, initialise=random_start) if rule.kind == "learned" else rule
            for rule in all_rules()
        )
        random, _ = replaced(blind)
        entry["random"] = {
            "validation": dataclasses.asdict(random.report.accuracy),
            "test_after": accuracy(random.network, test, random.contract),
            "distil_steps": random.report.distil_steps,
        }
    return entry


def blind(rule: Rule) -> Rule:
    """Return a rule whose learned blocks start from random weights."""
    return dataclasses.replace(rule, initialise=random_start) if rule.kind == "learned" else rule


def key(name: str) -> str:
    """Return what a result depends on: the network's file and the names of the rules."""
    text = [sha256(FOLDER / f"{name}.onnx"), *(rule.name for rule in all_rules())]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def page(results: dict[str, Any]) -> str:
    """Return the Markdown page."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.2f}"

    columns = (
        "network", "data", "test before", "test after", "change", "validation: exact", "regression", "distilled",
        "random: regression", "random: distilled", "steps", "kmodel bytes", "KPU cycles", "CPU layers", "s",
    )  # fmt: skip
    lines = [
        "# Replacement, measured on the trained zoo",
        "",
        "Made by `python -m benchmarks.replacement`: at most three epochs of distillation from the network itself,",
        f"without labels; {CALIBRATION} calibration images; `max_drop` 1 point. Accuracies in %; bytes and cycles are",
        "predicted (what the CPU does takes no cycles). *Random*: the same blocks from random weights, all else alike.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for name, entry in results.items():
        validation, random = entry["validation"], entry.get("random", {}).get("validation", {})
        bytes_, cycles = entry["kmodel_bytes"], entry["cycles"]
        lines.append(
            f"| `{name}` | {entry['data']} | {share(entry['test_before'])} | {share(entry['test_after'])} "
            f"| {100 * (entry['test_after'] - entry['test_before']):+.2f} | {share(validation['after_exact'])} "
            f"| {share(validation['after_regression'])} | {share(validation['after'])} "
            f"| {share(random.get('after_regression'))} | {share(random.get('after'))} | {entry['distil_steps']} "
            f"| {bytes_[0]:,} → {bytes_[1]:,} | {cycles[0]:,} → {cycles[1]:,} "
            f"| {entry['cpu_before']} → {len(entry['left'])} | {entry['seconds']} |"
        )
    lines += ["", "| network | rules applied | left, by `check` |", "|---|---|---|"]
    for name, entry in results.items():
        rules = ", ".join(f"{rule} ×{count}" for rule, count in sorted(entry["rules"].items()))
        lines.append(f"| `{name}` | {rules or 'none'} | {'; '.join(entry['left'] + entry['notes']) or 'nothing'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, one network after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of benchmarks/zoo; none: all that are trained")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    trained = [name for name in load_results() if (FOLDER / f"{name}.onnx").exists()]
    unknown = sorted(set(arguments.names) - set(trained))
    if unknown:
        parser.error(f"not trained: {', '.join(unknown)}; `make bench-zoo` trains them")
    torch.set_num_threads(arguments.threads)
    loaded: dict[str, tuple[Training, DataSet]] = {}
    for name in arguments.names or trained:
        results: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {}
        if results.get(name, {}).get("key") == key(name):
            continue
        source = ARCHITECTURES[name].data
        if source not in loaded:
            loaded[source] = load_training(DATA[source], SEED, ROOT), load_test(DATA[source], SEED, ROOT)
        entry = measure(name, *loaded[source])
        results = (read_json(RESULTS) if RESULTS.exists() else {}) | {name: entry}
        write_json(RESULTS, results)
        write_text(PAGE, page(results))
        print(json.dumps({name: entry}), flush=True)


if __name__ == "__main__":
    main()
