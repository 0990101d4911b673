"""report: one self-contained page with the verdict, the path through the stages, and why each step was taken."""

from __future__ import annotations

from pipeline.files import write_text
from pipeline.report.page import page
from pipeline.stages.layout import Run
from pipeline.stages.results import read_results


def run(run: Run) -> int:
    """Write ``out/<recipe>/report.html``."""
    write_text(run.report_page, page(read_results(run)))
    return 0
