"""report: one self-contained page with the verdict, the path through the stages, and why each step was taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.files import write_text
from pipeline.kpu.check import Checked, check_network
from pipeline.network.read import load_onnx
from pipeline.report.page import page
from pipeline.report.results import Picture, RunResults
from pipeline.stages.layout import Run
from pipeline.stages.provenance import provenance
from pipeline.stages.results import read_results
from pipeline.stages.target import target_version


def run(run: Run) -> int:
    """Write ``out/<recipe>/report.html``."""
    write_text(run.report_page, page(everything(run)))
    return 0


def everything(run: Run) -> RunResults:
    """What the stages have written so far, with what only the page shows: networks, pictures, provenance.

    Raises:
        StorageError: a file is torn.
        NetworkError: a network is.
    """
    return replace(
        read_results(run),
        provenance=provenance(run),
        settings=run.recipe_file.read_text(),
        before=_checked(run, "train"),
        after=_checked(run, "replace"),
        pictures=_pictures(run.file("evaluate", "mistakes.npz")),
    )


def _checked(run: Run, stage: str) -> Checked | None:
    path = run.file(stage, "network.onnx")
    return check_network(load_onnx(path), target_version(run), where=str(path)) if path.is_file() else None


def _pictures(path: Path) -> tuple[Picture, ...]:
    if not path.is_file():
        return ()
    with np.load(path, allow_pickle=False) as file:
        arrays = [file[name] for name in ("images", "index", "actual", "answer")]
    return tuple(
        Picture(pixels, int(number), int(actual), int(answer))
        for pixels, number, actual, answer in zip(*arrays, strict=True)
    )
