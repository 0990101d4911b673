"""What the stages of a recipe have written so far, for the table and the page."""

from __future__ import annotations

import json
from importlib.metadata import version

from pipeline.compiler.environment import locked_nncase
from pipeline.files import read_json
from pipeline.report.results import RunResults
from pipeline.stages.layout import STAGES, Run
from pipeline.stages.manifest import manifest_path

_PACKAGES = ("kpufit", "torch", "torch-pruning", "onnx", "onnx2tf", "tensorflow-model-optimization")


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
        provenance=_provenance(run),
    )


def _provenance(run: Run) -> dict[str, str]:
    """What made the results; no times and no machine, so that the same run gives the same page."""
    recipe, manifest = run.recipe, manifest_path(run.root, run.name)
    return {
        "recipe": run.name,
        "seed": str(recipe.seed),
        "model": json.dumps(recipe.model.model_dump(mode="json")),
        "firmware": recipe.target.firmware,
        "data": recipe.data.name,
        "data checksums": json.dumps(read_json(manifest)) if manifest.is_file() else "unknown",
        **{package: version(package) for package in _PACKAGES},
        "nncase": locked_nncase(run.root) or "unknown",
    }
