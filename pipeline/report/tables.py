"""What each stage reported, as tables; one function a table, None where the stage has nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.results import RunResults
from pipeline.report.text import ABSENT, count, decimal, percent, words


@dataclass(frozen=True)
class Column:
    """A heading, and whether the column holds numbers."""

    name: str
    number: bool = False


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


def kmodel_layers(results: RunResults) -> Table | None:
    """Return the layers of the kmodel with their bytes."""
    layers = _dicts(results.report("convert").get("layers"))
    largest = max((_number(layer.get("size")) for layer in layers), default=0)
    if not layers or largest <= 0:
        return None
    rows = tuple(
        (words(layer.get("name")), count(layer.get("size")), count(layer.get("weight_loads"))) for layer in layers
    )
    shares = tuple(_number(layer.get("size")) / largest for layer in layers)
    on_cpu = words(results.report("convert").get("cpu_ops", []))
    note = "" if on_cpu == ABSENT else f"Operators on the CPU, in order: {on_cpu}."
    return Table(
        "Layers of the kmodel",
        (Column("layer"), Column("bytes", True), Column("weight loads (of 64)", True)),
        rows,
        shares,
        note,
    )


def pruned_groups(results: RunResults) -> Table | None:
    """Return the channels of each group before and after pruning."""
    groups = _dicts(results.report("prune").get("groups"))
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
        (Column("group"), *(Column(name, True) for name in columns), Column("layers that changed with it")),
        rows,
        shares,
        note,
    )


def replaced_layers(results: RunResults) -> Table | None:
    """Return what became of each layer that a replacement rule concerns, and why."""
    layers = _dicts(results.report("replace").get("layers"))
    if not layers:
        return None
    rows = tuple(
        (
            words(layer.get("name")),
            words(layer.get("op")),
            words(layer.get("becomes") or "stays"),
            words(layer.get("because") or _refusals(layer)),
            _measurements(layer.get("measured")),
        )
        for layer in layers
    )
    notes = " ".join(str(note) for note in results.report("replace").get("notes") or ())
    headings = ("layer", "is", "becomes", "why", "measured")
    return Table("Replacements", tuple(Column(name) for name in headings), rows, note=notes)


def equalised_groups(results: RunResults) -> Table | None:
    """Return how far equalisation narrowed the ranges of channels."""
    groups = _dicts(results.report("quantise").get("equalisation"))
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
    layers = _dicts(results.report("quantise").get("layers"))
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
    classes = _dicts(results.report("evaluate").get("per_class"))
    if not classes:
        return None
    rows = tuple((words(entry.get("class")), percent(entry.get("accuracy"))) for entry in classes)
    shares = tuple(_number(entry.get("accuracy")) for entry in classes)
    columns = (Column("class"), Column("test accuracy", True))
    return Table("The kmodel, class by class", columns, rows, shares)


def _refusals(layer: Mapping[str, Any]) -> str:
    return "; ".join(f"{tried.get('rule')}: {tried.get('why')}" for tried in _dicts(layer.get("tried")))


def _measurements(measured: Any) -> str:
    if not isinstance(measured, Mapping):
        return ABSENT
    parts = [
        f"{str(name).replace('_', ' ')} {percent(value) if 'accuracy' in str(name) else words(value)}"
        for name, value in measured.items()
    ]
    return ", ".join(parts) or ABSENT


def _dicts(values: Any) -> Sequence[Mapping[str, Any]]:
    """Return the mappings in a list, whatever was read."""
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list | tuple) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
