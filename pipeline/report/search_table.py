"""The table of a search, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def front_table(report: Mapping[str, Any], name: str) -> Table:
    """Return the Pareto front and the point chosen as a table, smallest first.

    Args:
        report: ``report.json`` of the search.
        name: of the recipe.
    """
    table = Table(title=f"{name}: the best accuracy at every size", title_justify="left")
    for heading in ("trial", "accuracy", "bytes", "heap", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("")
    points = {point["number"]: point for point in report["points"]}
    shown = {*report["front"], report["chosen"]}
    for number in sorted(shown, key=lambda number: points[number]["kmodel_bytes"]):
        point = points[number]
        latency = "" if point["latency_ms"] is None else f"{point['latency_ms']:.2f}"
        table.add_row(
            str(number),
            f"{point['accuracy']:.2%}",
            f"{point['kmodel_bytes']:,}",
            f"{point['heap_bytes']:,}",
            latency,
            "chosen" if number == report["chosen"] else "",
        )
    return table


def summary_line(report: Mapping[str, Any], study: str) -> str:
    """Return what became of all candidates, in one sentence, and where the study is."""
    counts = report["counts"]
    return (
        f"{counts['evaluated']} candidates evaluated fully, {counts['rejected']} did not fit and were not trained, "
        f"{counts['stopped']} stopped early, {counts['failed']} failed; accuracy on validation images; study: {study}"
    )
