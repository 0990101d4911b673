"""What the stages of a recipe have written so far, for the table and the page."""

from __future__ import annotations

from pipeline.files import read_json
from pipeline.report.results import RunResults
from pipeline.stages.layout import STAGES, Run


def read_results(run: Run) -> RunResults:
    """Return every stage's metrics and report; a stage that has not run is left out. Raises StorageError."""
    metrics, reports = (
        {stage: read_json(path) for stage in STAGES if (path := run.file(stage, name)).is_file()}
        for name in ("metrics.json", "report.json")
    )
    verdict = run.file("gate", "verdict.json")
    return RunResults(
        recipe=run.name,
        metrics=metrics,
        reports=reports,
        verdict=read_json(verdict) if verdict.is_file() else None,
    )
