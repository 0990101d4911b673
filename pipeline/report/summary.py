"""One row a stage: how accurate, how large, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from pipeline.report.results import RunResults
from pipeline.report.text import count, percent

STAGE_ACCURACIES = {
    "train": "float_accuracy",
    "prune": "pruned_accuracy",
    "replace": "replaced_accuracy",
    "quantise": "quantised_accuracy",
    "convert": "kmodel_accuracy",
}
"""Name of the test accuracy of each stage's artefact among the metrics of ``evaluate``."""


@dataclass(frozen=True)
class StageRow:
    """One stage's artefact; None where it does not apply or is not known yet.

    Attributes:
        stage: its name.
        validation_accuracy: fraction, by which decisions were taken.
        accuracy: fraction, on test images.
        parameters: of the network.
        predicted_bytes: of the kmodel, predicted from the network.
        kmodel_bytes: of the kmodel itself.
        latency_ms: predicted time of the KPU's part.
        verdict: "accepted" or "rejected" by the gate, or "".
    """

    stage: str
    validation_accuracy: float | None
    accuracy: float | None
    parameters: int | None
    predicted_bytes: int | None
    kmodel_bytes: int | None
    latency_ms: float | None
    verdict: str = ""


def stage_rows(results: RunResults) -> tuple[StageRow, ...]:
    """Return one row for each stage that has run and makes or judges an artefact."""
    rows = []
    for stage, accuracy in STAGE_ACCURACIES.items():
        if stage not in results.metrics:
            continue
        # prune predicts for the networks before and behind it, as replace will make them
        suffix = {"train": "_before", "prune": "", "replace": ""}.get(stage)
        predicted, latency = (
            results.metric("prune", f"{name}{suffix}") if suffix is not None else None
            for name in ("predicted_bytes", "predicted_ms")
        )
        rows.append(
            StageRow(
                stage,
                results.metric(stage, "validation_accuracy"),
                results.metric("evaluate", accuracy),
                _whole(results.metric(stage, "parameters")),
                _whole(predicted),
                _whole(results.metric(stage, "kmodel_bytes")),
                results.metric("convert", "latency_ms") if stage == "convert" else latency,
            )
        )
    if results.verdict is not None:
        verdict = "accepted" if results.verdict.get("accepted") else "rejected"
        found = results.verdict.get("kmodel_bytes")
        size = found if isinstance(found, int) else None
        kmodel, latency = results.metric("evaluate", "kmodel_accuracy"), results.metric("convert", "latency_ms")
        rows.append(StageRow("gate", None, kmodel, None, None, size, latency, verdict))
    return tuple(rows)


def summary_json(rows: Sequence[StageRow]) -> list[dict[str, Any]]:
    """Return the rows as plain values."""
    return [asdict(row) for row in rows]


def summary_table(rows: Sequence[StageRow], title: str = "") -> Table:
    """Return the rows as a table for the terminal."""
    table = Table(title=title or None, title_justify="left")
    table.add_column("stage")
    for heading in ("validation", "test accuracy", "parameters", "predicted bytes", "kmodel bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in rows:
        colour = {"accepted": "bold green", "rejected": "bold red"}.get(row.verdict, "")
        table.add_row(*cells(row), style=colour)
    return table


def cells(row: StageRow) -> tuple[str, ...]:
    """Return a row as text, without its time: a terminal is narrow."""
    return (
        row.stage,
        percent(row.validation_accuracy),
        percent(row.accuracy),
        count(row.parameters),
        count(row.predicted_bytes),
        count(row.kmodel_bytes),
        row.verdict,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
