"""The network before and after, layer by layer: what was pruned and replaced, and where each layer runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.kpu.check import Checked
from pipeline.report.check_rows import Row, layer_rows
from pipeline.report.results import RunResults, dicts


@dataclass(frozen=True)
class Fate:
    """What became of a layer, with those that nncase runs along with it.

    Attributes:
        before: the layer of the network that was trained.
        channels: of its output before and after pruning; None where that is not known.
        rules: the replacement rules that were applied to it, each with its kind ("exact" or "learned").
        after: the layers in its place, in running order; () where others took over its work.
    """

    before: Row
    channels: tuple[int, int] | None
    rules: tuple[tuple[str, str], ...]
    after: tuple[Row, ...]


def fates(results: RunResults) -> tuple[Fate, ...]:
    """Return what became of each layer, in the network's order; () where a network is missing."""
    if results.before is None or results.after is None:
        return ()
    rows = layer_rows(results.before)
    replaced = {str(layer.get("name")): layer for layer in dicts(results.report("replace").get("layers"))}
    pruned = {str(group.get("name")): group for group in dicts(results.report("prune").get("groups"))}
    places = _places(rows, results.after, replaced)
    return tuple(
        Fate(
            row,
            next((_channels(pruned[layer]) for layer in row.layers if layer in pruned), None),
            tuple(rule for layer in row.layers for rule in _taken(replaced.get(layer, {}))),
            places[row.number],
        )
        for row in rows
    )


def _places(
    rows: tuple[Row, ...], after: Checked, replaced: Mapping[str, Mapping[str, Any]]
) -> dict[int, tuple[Row, ...]]:
    """The new rows by the number of the row whose place they take.

    A new row goes with the first old one that became any of its layers; one of which nothing is known, with the one
    before it.
    """
    owners: dict[str, int] = {}
    for row in rows:
        for layer in row.layers:
            for name in (layer, *_strings(replaced.get(layer, {}).get("becomes"))):
                owners.setdefault(name, row.number)
    places: dict[int, list[Row]] = {row.number: [] for row in rows}
    at = rows[0].number if rows else 0
    for new in layer_rows(after):
        at = min((owners[layer] for layer in new.layers if layer in owners), default=at)
        places.setdefault(at, []).append(new)
    return {number: tuple(found) for number, found in places.items()}


def _channels(group: Mapping[str, Any]) -> tuple[int, int] | None:
    before, after = group.get("before"), group.get("after")
    return (before, after) if isinstance(before, int) and isinstance(after, int) else None


def _taken(layer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for tried in dicts(layer.get("tried")):
        if tried.get("taken"):
            yield str(tried.get("rule")), str(tried.get("kind"))


def _strings(values: Any) -> tuple[str, ...]:
    return tuple(map(str, values)) if isinstance(values, list | tuple) else ()
