"""Measure replacement on the trained zoo: ``python -m benchmarks.replacement [NAME…]``.

Each network of ``benchmarks/zoo`` is replaced by every rule, its learned blocks fitted and the whole distilled for at
most three epochs an attempt; then once more with the rules that were taken, from random weights in place of their
initialisation, with the same regression and as many steps of distillation. Decisions are taken on validation images;
test images are read once, at the end. ``benchmarks/replacement.json`` keeps what was measured, ``replacement.md`` shows
it. A network that is there is not measured again, unless its file or a rule that matches one of its layers changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import inspect
import json
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from pipeline.replacement.report import Report
from pipeline.replacement.rewrite import Candidate, Choice, rewrite
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

    def replaced(settings: Replace, rules: tuple[Rule, ...]) -> tuple[Replaced, float]:
        began = time.perf_counter()
        done = replace_network(
            network, contract, calibration, data.train, data.validation, settings, seed=SEED, rules=rules
        )
        return done, time.perf_counter() - began

    learned, seconds = replaced(settings, all_rules())
    report = learned.report
    before, after = (
        check_network(to_onnx(net, own)) for net, own in ((network, contract), (learned.network, learned.contract))
    )
    entry: dict[str, Any] = {
        "data": ARCHITECTURES[name].data,
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
        "layers": layer_results(report),
    }
    if report.accuracy.after_regression is not None:
        names = {rule for each in entry["layers"] for rule in each["rules"]}
        same = settings.model_copy(update={"max_drop": 1.0, "distil_steps": report.distil_steps})
        rules = tuple(blind(rule) for rule in all_rules() if rule.kind == "exact" or rule.name in names)
        random, _ = replaced(same, rules)
        entry["random"] = {
            "validation": dataclasses.asdict(random.report.accuracy),
            "test_after": accuracy(random.network, test, random.contract),
            "distil_steps": random.report.distil_steps,
            "layers": layer_results(random.report),
        }
    return entry


def layer_results(report: Report) -> list[dict[str, Any]]:
    """Return what was measured of each layer that a rule took, the last rule counting."""
    found = []
    for layer in report.layers:
        taken = [tried for tried in layer.tried if tried.taken]
        if taken:
            found.append({"layer": layer.name, "rules": [tried.rule for tried in taken], **layer.measured})
    return found


def blind(rule: Rule) -> Rule:
    """Return a rule whose learned blocks start from random weights."""
    return dataclasses.replace(rule, initialise=random_start) if rule.kind == "learned" else rule


def key(name: str) -> str:
    """Return what a result depends on: the network's file, and the files of the rules that match its layers."""
    network, contract = load(name)
    matching: set[Rule] = set()

    def note(candidates: Sequence[Candidate]) -> Choice:
        matching.update(candidate.rule for candidate in candidates)
        return Choice(candidates[0])

    for kind in ("exact", "learned"):
        done = rewrite(network, contract, [rule for rule in all_rules() if rule.kind == kind], note)
        network, contract = done.network, done.contract or contract
    sources = sorted(Path(inspect.getfile(rule.match)) for rule in matching)
    text = [sha256(FOLDER / f"{name}.onnx"), *(f"{source.name} {sha256(source)}" for source in sources)]
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
        "Made by `python -m benchmarks.replacement`: at most three epochs of distillation an attempt, from the network",
        f"itself, without labels; {CALIBRATION} calibration images; `max_drop` 1 point. Accuracies in %; bytes and",
        "cycles are predicted (what the CPU does takes no cycles). *Random*: the same rules from random weights, with",
        "as many steps.",
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
    lines += ["", "| network | left, by `check` |", "|---|---|"]
    lines += [
        f"| `{name}` | {'; '.join(each['left'] + each['notes']) or 'nothing'} |" for name, each in results.items()
    ]
    lines += [
        "",
        "Rule by rule, the mean of its layers. *Error*: mean square over the variance of the layer's outputs, on",
        "images that the fit did not see; *in place*: validation accuracy that the layer cost before distillation.",
        "",
        "| rule | network | layers | error at the start | after regression | from a random start | in place |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in results.items():
        random = {each["layer"]: each for each in entry.get("random", {}).get("layers", ())}
        rules = sorted({rule for each in entry["layers"] for rule in each["rules"]})
        for rule in rules:
            own = [each for each in entry["layers"] if rule in each["rules"]]
            fitted = [each for each in own if each["rules"][-1] == rule and "error_fitted" in each]
            blind_ = [random[each["layer"]] for each in fitted if "error_fitted" in random.get(each["layer"], {})]
            cost = [each["accuracy_before"] - each["accuracy_after"] for each in fitted if "accuracy_after" in each]
            lines.append(
                f"| {rule} | `{name}` | {len(own)} | {mean(fitted, 'error_initial')} | {mean(fitted, 'error_fitted')} "
                f"| {mean(blind_, 'error_fitted')} | {f'{100 * sum(cost) / len(cost):.2f}' if cost else '–'} |"
            )
    return "\n".join(lines) + "\n"


def mean(layers: Sequence[Mapping[str, Any]], number: str) -> str:
    """Return the mean of a number over layers, as the page shows it."""
    return f"{sum(layer[number] for layer in layers) / len(layers):.3f}" if layers else "–"


def main() -> None:
    """Measure what is missing, one network after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of benchmarks/zoo; none: all that are trained")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    arguments = parser.parse_args()
    trained = [name for name in load_results() if (FOLDER / f"{name}.onnx").exists()]
    unknown = sorted(set(arguments.names) - set(trained))
    if unknown:
        parser.error(f"not trained: {', '.join(unknown)}; `make bench-zoo` trains them")
    torch.set_num_threads(arguments.threads)
    loaded: dict[str, tuple[Training, DataSet]] = {}
    for name in arguments.names or trained:
        results: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {}
        key_ = key(name)  # before: the rules' files may change while it runs
        if results.get(name, {}).get("key") == key_:
            continue
        source = ARCHITECTURES[name].data
        if source not in loaded:
            loaded[source] = load_training(DATA[source], SEED, ROOT), load_test(DATA[source], SEED, ROOT)
        entry = {"key": key_, **measure(name, *loaded[source])}
        results = (read_json(RESULTS) if RESULTS.exists() else {}) | {name: entry}
        write_json(RESULTS, results)
        write_text(PAGE, page(results))
        print(f"{name}: {entry['test_before']:.2%} → {entry['test_after']:.2%}, {entry['seconds']} s", flush=True)
    if arguments.json:
        print(json.dumps({"benchmark": "replacement", "machine": platform.processor(), "results": rows()}))


def rows() -> list[dict[str, Any]]:
    """Return the results, one for each rule and network."""
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {}
    found = []
    for name, entry in results.items():
        validation, random = entry["validation"], entry.get("random", {}).get("validation", {})
        for rule in sorted({rule for each in entry["layers"] for rule in each["rules"]}):
            found.append(
                {
                    "rule": rule,
                    "network": name,
                    "before": validation["before"],
                    "after_regression": validation["after_regression"],
                    "after_distillation": validation["after"],
                    "random_same_budget": random.get("after"),
                    "bytes_before": entry["kmodel_bytes"][0],
                    "bytes_after": entry["kmodel_bytes"][1],
                    "seconds": entry["seconds"],
                }
            )
    return found


if __name__ == "__main__":
    main()
