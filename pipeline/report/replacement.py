"""What replacement did to a network, as JSON, as a table for the terminal, and in lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.kpu.check import Checked
from pipeline.report.check import fitting_json, size_lines
from pipeline.report.check_rows import printable

_JUDGED = {
    "labels": "accuracy on a fifth of the images, from which nothing was learnt",
    "likeness": "likeness to the network given, on a fifth of the images, from which nothing was learnt",
    "noise": "unverified: no images were given (--data), so that weights were only initialised, on noise",
}


def replacement_json(report: Mapping[str, Any], judged: str, checked: Checked, output: str) -> dict[str, Any]:
    """Return the stable form that other programs read.

    Args:
        report: of the replacement, as JSON holds it.
        judged: what its accuracies are: on "labels", "likeness", or nothing but "noise".
        checked: the network made.
        output: its file.
    """
    return {
        "output": output,
        "judged": judged,
        "report": dict(report),
        "compiles": checked.prediction.compiles,
        "predicted": {
            "kmodel_bytes": checked.prediction.kmodel_bytes,
            "heap_bytes": checked.prediction.heap_bytes,
            "kpu_bytes": checked.prediction.kpu_bytes,
        },
        "fitting_input": fitting_json(checked),
        "left": [finding.to_json() for finding in checked.left],
    }


def replacement_table(report: Mapping[str, Any]) -> Table:
    """Return a row for each learned replacement, and one for all that a rule made exactly."""
    table = Table(title="replaced", title_justify="left")
    for heading in ("layer", "was", "becomes", "rule", "error"):
        table.add_column(heading, justify="right" if heading == "error" else "left")
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for layer in report["layers"]:
        taken = [tried for tried in layer["tried"] if tried["taken"]]
        if taken:
            exact = all(tried["kind"] == "exact" for tried in taken)
            key = [tried["rule"] for tried in taken] if exact else [layer["name"]]
            groups.setdefault((layer["op"], *key), []).append(layer)
    for layers in groups.values():
        first, more = layers[0], len(layers) - 1
        taken = [tried for tried in first["tried"] if tried["taken"]]
        error = first["measured"].get("error_fitted")
        table.add_row(
            Text(printable(first["name"]) + (f" … and {more} more" if more else "")),
            Text(printable(f"{first['op']} {taken[0]['why']}" + (" …" if more else ""))),
            Text((printable(", ".join(first["becomes"])) or "nothing") + (" …" if more else "")),
            ", ".join(f"{tried['rule']} ({tried['kind']})" for tried in taken),
            "exact" if error is None else f"{error:.4f}",
        )
    return table


def replacement_lines(report: Mapping[str, Any], judged: str, checked: Checked, output: str) -> list[str]:
    """Return what it came to: what it cost, and where it was written."""
    prediction, accuracy = checked.prediction, report["accuracy"]
    lines = [f"note: {note}" for note in report["notes"]]
    if judged != "noise":
        lines.append(f"{accuracy['before']:.2%} before, {accuracy['after']:.2%} after ({_JUDGED[judged]})")
    else:
        lines.append(_JUDGED[judged])
    if prediction.compiles:
        lines.append(f"as a kmodel: {prediction.kmodel_bytes:,} bytes, {prediction.heap_bytes:,} of heap (predicted)")
    else:
        lines.append("as it is, nncase 1.9 makes no kmodel of it; `kpufit check` says why")
    lines += size_lines(checked)
    return [*lines, f"written: {output}"]
