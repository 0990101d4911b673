"""What each stage reported, as tables; one function a table, None where the stage has nothing to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.results import RunResults, dicts
from pipeline.report.summary import StageRow
from pipeline.report.text import ABSENT, count, decimal, percent, words


@dataclass(frozen=True)
class Column:
    """A heading, and whether the column holds numbers, or sentences that need some width."""

    name: str
    number: bool = False
    sentence: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        caption: what it shows.
        columns: headings; the first column heads its row.
        rows: as many cells as columns each.
        shares: the fraction of each row that a bar shows, or ().
        note: a sentence behind it.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[float, ...] = ()
    note: str = ""


def path(rows: Sequence[StageRow]) -> Table | None:
    """Return the stages with what their artefacts are worth."""
    if not rows:
        return None
    headings = (
        "validation", "test accuracy", "parameters", "predicted bytes", "kmodel bytes", "KPU ms, predicted",
    )  # fmt: skip
    cells = tuple(
        (
            row.stage,
            percent(row.validation_accuracy),
            percent(row.accuracy),
            count(row.parameters),
            count(row.predicted_bytes),
            count(row.kmodel_bytes),
            decimal(row.latency_ms),
            row.verdict,
        )
        for row in rows
    )
    columns = (Column("stage"), *(Column(name, True) for name in headings), Column("verdict"))
    note = (
        "Decisions were taken on validation images; test images were read once, by evaluate. Bytes are predicted for "
        "the network as replace will make it, and times are those of the KPU alone, at its usual clock."
    )
    return Table("From the trained network to the kmodel", columns, cells, note=note)


def layer_errors(results: RunResults) -> Table | None:
    """Return how far each layer's map in the kmodel is from the float network's, the worst first."""
    report = results.report("evaluate")
    layers = dicts(report.get("layers"))
    if not layers:
        return None
    worst_first = sorted(layers, key=lambda layer: _number(layer.get("snr_db")) or math.inf)
    rows = tuple(
        (
            words(layer.get("layer")),
            "×".join(words(side) for side in layer.get("shape") or ()),
            "no error" if layer.get("snr_db") is None else f"{_number(layer.get('snr_db')):.1f}",
            f"{_number(layer.get('cosine')):.5f}",
            percent(layer.get("saturated")),
        )
        for layer in worst_first
    )
    columns = (
        Column("layer"), Column("map"), Column("SNR, dB", True), Column("cosine", True),
        Column("codes at 255", True),
    )  # fmt: skip
    images = words(report.get("layer_images"))
    note = (
        "The kmodel's maps against the float network's that it was compiled from, over "
        f"{images} test images: power of the map over that of the difference, and the angle between the two."
    )
    alone = len(dicts(results.report("convert").get("layers"))) - len(layers)
    if alone > 0:
        note += f" {alone} of the kmodel's convolutions are the compiler's own: the float network has no such map."
    return Table("Error of each layer's output, the worst first", columns, rows, note=note)


def kmodel_layers(results: RunResults) -> Table | None:
    """Return the layers of the kmodel with their bytes."""
    layers = dicts(results.report("convert").get("layers"))
    largest = max((_number(layer.get("size")) for layer in layers), default=0)
    if not layers or largest <= 0:
        return None
    names = {
        each.get("convolution"): words(each.get("layer")) for each in dicts(results.report("evaluate").get("layers"))
    }
    rows = tuple(
        (words(layer.get("name")), names.get(index, ""), count(layer.get("size")), count(layer.get("weight_loads")))
        for index, layer in enumerate(layers)
    )
    shares = tuple(_number(layer.get("size")) / largest for layer in layers)
    on_cpu = words(results.report("convert").get("cpu_ops", []))
    note = "" if on_cpu == ABSENT else f"Operators on the CPU, in order: {on_cpu}."
    return Table(
        "Layers of the kmodel",
        (Column("step"), Column("layer"), Column("bytes", True), Column("weight loads (of 64)", True)),
        rows,
        shares,
        note,
    )


def pruned_groups(results: RunResults) -> Table | None:
    """Return the channels of each group before and after pruning."""
    groups = dicts(results.report("prune").get("groups"))
    if not groups:
        return None
    rows = tuple(
        (
            words(group.get("name")),
            count(group.get("before")),
            count(group.get("after")),
            percent(group.get("importance_kept")),
            words(group.get("layers")),
        )
        for group in groups
    )
    shares = tuple(_number(g.get("after")) / max(_number(g.get("before")), 1) for g in groups)
    reached = results.report("prune").get("reached", True)
    note = "" if reached else "The budget was not reached: no group could give more channels."
    columns = ("channels before", "after", "importance kept")
    return Table(
        "Channels, group by group",
        (
            Column("group"),
            *(Column(name, True) for name in columns),
            Column("layers that changed with it", sentence=True),
        ),
        rows,
        shares,
        note,
    )


def replaced_layers(results: RunResults) -> Table | None:
    """Return the layers that were replaced: by what, why, and with what result."""
    layers = [layer for layer in dicts(results.report("replace").get("layers")) if layer.get("becomes")]
    notes = " ".join(str(note) for note in results.report("replace").get("notes") or ())
    if not layers:
        return None
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for layer in layers:  # what was done to several layers for the same reason is said once
        rules = ", ".join(f"{each.get('rule')} ({each.get('kind')})" for each in _tried(layer) if each.get("taken"))
        alike = (words(layer.get("op")), rules, words(layer.get("because")), _measurements(layer.get("measured")))
        groups.setdefault(alike, []).append(layer)
    rows = tuple(
        (
            ", ".join(words(layer.get("name")) for layer in group),
            operator,
            ", ".join(words(layer.get("becomes")) for layer in group),
            rules,
            because,
            measured,
        )
        for (operator, rules, because, measured), group in groups.items()
    )
    columns = (
        Column("layers"), Column("are"), Column("become"), Column("by the rule"), Column("why", sentence=True),
        Column("measured", sentence=True),
    )  # fmt: skip
    return Table("Replacements", columns, rows, note=notes)


def tried_rules(results: RunResults) -> Table | None:
    """Return every rule that was asked about a layer, and what it found."""
    rows = tuple(
        (
            words(layer.get("name")),
            words(each.get("rule")),
            words(each.get("kind")),
            "taken" if each.get("taken") else "–",
            words(each.get("why")),
        )
        for layer in dicts(results.report("replace").get("layers"))
        for each in _tried(layer)
    )
    if not rows:
        return None
    columns = (Column("layer"), Column("rule"), Column("kind"), Column("taken"), Column("what it found", sentence=True))
    return Table("Every rule that was tried", columns, rows)


def equalised_groups(results: RunResults) -> Table | None:
    """Return how far equalisation narrowed the ranges of channels."""
    groups = dicts(results.report("quantise").get("equalisation"))
    if not groups:
        return None
    rows = tuple(
        (
            words(group.get("layers")),
            decimal(group.get("spread_before")),
            decimal(group.get("spread_after")),
            decimal(group.get("largest_factor")),
        )
        for group in groups
    )
    headings = ("largest over smallest channel range, before", "after", "largest factor")
    columns = (Column("layers"), *(Column(name, True) for name in headings))
    return Table("Equalised channels", columns, rows)


def quantised_weights(results: RunResults) -> Table | None:
    """Return the weight ranges of each layer before and after equalisation and training."""
    layers = dicts(results.report("quantise").get("layers"))
    if not layers:
        return None
    names = ("largest_before", "largest", "weakest_channel_before", "weakest_channel", "moved_by_qat")
    rows = tuple((words(layer.get("layer")), *(decimal(layer.get(name)) for name in names)) for layer in layers)
    headings = ("largest weight before", "after", "largest of the weakest channel before", "after", "moved by training")
    columns = (Column("layer"), *(Column(name, True) for name in headings))
    note = "A channel whose largest weight is far below 0.01 loses precision in nncase 1.9."
    return Table("Weights as they are quantised", columns, rows, note=note)


def class_accuracies(results: RunResults) -> Table | None:
    """Return the kmodel's accuracy on each class."""
    classes = dicts(results.report("evaluate").get("per_class"))
    if not classes:
        return None
    rows = tuple((words(entry.get("class")), percent(entry.get("accuracy"))) for entry in classes)
    shares = tuple(_number(entry.get("accuracy")) for entry in classes)
    columns = (Column("class"), Column("test accuracy", True))
    return Table("The kmodel, class by class", columns, rows, shares)


def _tried(layer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return dicts(layer.get("tried"))


def _measurements(measured: Any) -> str:
    if not isinstance(measured, Mapping):
        return ABSENT
    parts = [
        f"{str(name).replace('_', ' ')} {percent(value) if 'accuracy' in str(name) else words(value)}"
        for name, value in measured.items()
    ]
    return ", ".join(parts) or ABSENT


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
