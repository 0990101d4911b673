"""What a recipe's stages left in ``out/``, as the nightly compares it."""

from __future__ import annotations

import hashlib
import json

from pipeline.errors import StorageError
from pipeline.files import sha256
from pipeline.nightly.answers import pack
from pipeline.nightly.judge import Result
from pipeline.stages.layout import Run
from pipeline.stages.manifest import manifest_path
from pipeline.stages.results import read_results

_FIGURES = {
    "evaluate": ("kmodel_accuracy", "float_accuracy", "test_images"),
    "convert": ("kmodel_bytes", "heap_bytes", "kpu_bytes", "latency_ms"),
}


def read_result(run: Run) -> Result:
    """Return the result of a recipe that has run to the end.

    Raises:
        StorageError: a stage has not run, or a file is torn.
    """
    results = read_results(run)
    if results.verdict is None:
        raise StorageError("there is no verdict: `gate` has not run", where=run.name, remedy=f"kpufit run {run.name}")
    metrics = {
        figure: value
        for stage, figures in _FIGURES.items()
        for figure in figures
        if (value := results.metric(stage, figure)) is not None
    }
    wrong = results.report("evaluate").get("wrong")
    images = int(metrics.get("test_images", 0))
    failed = [check for check in results.verdict["checks"] if not check["ok"]]
    return Result(
        metrics=metrics,
        kmodel=sha256(run.made_by("convert", "network.kmodel")),
        test_set=_test_set(run),
        wrong=pack(wrong, images) if isinstance(wrong, list) else None,
        rejections=tuple(f"{check['name']}: {check.get('message', 'does not hold')}" for check in failed),
    )


def _test_set(run: Run) -> str:
    """A name of the test images: equal only where files, size and, if they were split off, the split are equal."""
    data, path = run.recipe.data, manifest_path(run.root, run.name)
    split = None if data.test is None else [run.recipe.seed, data.validation, data.test]
    named = json.dumps([sha256(path) if path.is_file() else None, list(data.image), split])
    return hashlib.sha256(named.encode()).hexdigest()[:16]
