"""The page for people: everything about one run in a single HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2

from pipeline.report import tables
from pipeline.report.results import RunResults
from pipeline.report.summary import StageRow, cells, stage_rows
from pipeline.report.text import count, decimal, percent, words


@dataclass(frozen=True)
class Segment:
    """A part of the memory bar: its name, bytes and share of the whole width (0 to 100)."""

    name: str
    size: int
    width: float


@dataclass(frozen=True)
class MemoryBar:
    """What the kmodel takes, against what it may take.

    Attributes:
        segments: from the left, one behind the other.
        limit: bytes that a model may take.
        limit_width: where the limit stands, in percent of the whole width.
        needed: bytes that it takes.
        limit_by: "documented" or "sum".
    """

    segments: tuple[Segment, ...]
    limit: int
    limit_width: float
    needed: int
    limit_by: str


@dataclass(frozen=True)
class Confusion:
    """Images by actual class (rows) and predicted class (columns), with the shade of each cell (0 to 1)."""

    labels: tuple[str, ...]
    rows: tuple[tuple[tuple[int, float], ...], ...]


def page(results: RunResults) -> str:
    """Return the report as one self-contained HTML page. Parts whose stage has not run are left out."""
    rows = stage_rows(results)
    return _template().render(
        results=results,
        verdict=results.verdict,
        checks=(results.verdict or {}).get("checks", []),
        rows=[cells(row) for row in rows],
        lead=_lead(results, rows),
        bar=memory_bar(results),
        layers=tables.kmodel_layers(results),
        pruned=tables.pruned_groups(results),
        replaced=tables.replaced_layers(results),
        kept=words(results.report("quantise").get("kept")) if "quantise" in results.reports else "",
        why=results.report("quantise").get("why", ""),
        equalised=tables.equalised_groups(results),
        weights=tables.quantised_weights(results),
        classes=tables.class_accuracies(results),
        confusion=confusion(results),
        agreement=_agreement(results),
        provenance=results.provenance,
    )


def memory_bar(results: RunResults) -> MemoryBar | None:
    """Return the kmodel's memory against the firmware's, from the gate's memory check."""
    check = results.check("memory")
    verdict: Mapping[str, Any] = results.verdict or {}
    needed, limit = check.get("needed_bytes"), check.get("limit_bytes")
    if not isinstance(needed, int) or not isinstance(limit, int) or max(needed, limit) <= 0:
        return None
    whole = 100 / max(needed, limit)
    parts = [("file", verdict.get("kmodel_bytes")), ("main memory", verdict.get("heap_bytes"))]
    known = [(name, size) for name, size in parts if isinstance(size, int) and 0 < size <= needed]
    if sum(size for _, size in known) > needed:  # streamed from flash: the file is not in memory
        known = [(name, size) for name, size in known if name != "file"]
    rest = needed - sum(size for _, size in known)
    known += [("loader", rest)] if rest > 0 else []
    segments = tuple(Segment(name, size, size * whole) for name, size in known)
    return MemoryBar(segments, limit, limit * whole, needed, str(check.get("limit_by", "")))


def confusion(results: RunResults) -> Confusion | None:
    """Return the confusion matrix that ``evaluate`` reported, where it is one."""
    report = results.report("evaluate")
    matrix, labels = report.get("confusion"), report.get("labels")
    if not isinstance(matrix, list) or not isinstance(labels, list) or len(matrix) != len(labels) or not labels:
        return None
    if any(not isinstance(row, list) or len(row) != len(labels) for row in matrix):
        return None
    rows = tuple(tuple((int(n), int(n) / max(sum(row), 1)) for n in row) for row in matrix)
    return Confusion(tuple(str(label) for label in labels), rows)


def _lead(results: RunResults, rows: tuple[StageRow, ...]) -> list[tuple[str, str]]:
    """Return the figures at the top of the page."""
    verdict: Mapping[str, Any] = results.verdict or {}
    by_stage = {row.stage: row for row in rows}
    figures = []
    if "convert" in by_stage:
        figures.append(("kmodel accuracy", percent(by_stage["convert"].accuracy)))
    if "train" in by_stage:
        figures.append(("float accuracy", percent(by_stage["train"].accuracy)))
    for name, key in (("kmodel", "kmodel_bytes"), ("main memory", "heap_bytes"), ("KPU memory", "kpu_bytes")):
        if key in verdict:
            figures.append((name, f"{count(verdict[key])} bytes"))
    if verdict.get("latency_ms"):
        figures.append(("predicted latency", f"{decimal(verdict['latency_ms'])} ms"))
    return [(name, value) for name, value in figures if value]


def _agreement(results: RunResults) -> list[tuple[str, str]]:
    found = results.report("evaluate").get("kmodel_against_float")
    if not isinstance(found, Mapping):
        return []
    return [(str(name).replace("_", " "), words(value)) for name, value in found.items()]


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    return environment.get_template("page.html")
