"""accept: the verdict as an exit code, so that ``dvc repro`` fails on a rejected kmodel."""

from __future__ import annotations

import sys

from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED
from pipeline.files import read_json
from pipeline.stages.layout import Run


def run(run: Run) -> int:
    """Return 0 when the gate accepted; 1 when not, with what is over, by how much, and the remedies, on stderr."""
    verdict = read_json(run.made_by("gate", "verdict.json"))
    if verdict["accepted"]:
        return EXIT_ACCEPTED
    print(f"kpufit accept: {run.name} is rejected for {verdict['firmware']}", file=sys.stderr)
    for check in verdict["checks"]:
        if check["ok"]:
            continue
        print(f"  {check['name']}: {check['message']}", file=sys.stderr)
        for layer in check.get("by", []):
            print(f"    weighs {layer['bytes']:>9,} bytes: {layer['layer']}", file=sys.stderr)
        for number, remedy in enumerate(check.get("remedies", []), 1):
            print(f"    remedy {number}: {remedy}", file=sys.stderr)
    print(f"  the full report: {run.report_page.relative_to(run.root)}", file=sys.stderr)
    return EXIT_REJECTED
