"""``python -m pipeline.stages STAGE RECIPE``: what ``dvc.yaml`` calls.

Exit codes: 0 done (for ``accept``: accepted), 1 rejected, 2 bad input or a failed tool.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from pipeline.errors import EXIT_ERROR
from pipeline.failure import tell
from pipeline.files import remove_partial
from pipeline.processes import die_with_parent
from pipeline.progress import busy
from pipeline.stages.layout import STAGES, open_run
from pipeline.stages.lock import recipe_lock


def main(arguments: list[str]) -> int:
    """Run one stage of one recipe in the current folder and return its exit code."""
    if len(arguments) != 2 or arguments[0] not in STAGES:
        print(f"usage: python -m pipeline.stages {{{','.join(STAGES)}}} RECIPE", file=sys.stderr)
        return EXIT_ERROR
    stage, name = arguments
    # Killed DVC leaves no stage behind that could write into the next run's files.
    die_with_parent()
    try:
        run = open_run(Path.cwd(), name)
        with recipe_lock(run.root, run.name):
            for folder in (run.report_page.parent / stage, run.report_page.parent):
                remove_partial(folder)
            with busy(f"{stage} {run.name}"):
                code: int = import_module(f"pipeline.stages.{stage}").run(run)
            return code
    except Exception as error:
        return tell(f"kpufit {stage}", error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
