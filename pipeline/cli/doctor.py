"""``kpufit doctor``: is everything here that a run needs?"""

from __future__ import annotations

from pathlib import Path

import typer

from pipeline.cli.options import Json
from pipeline.cli.output import print_json
from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED


def doctor(as_json: Json = False) -> None:
    """Check both environments, versions and data, and say how to mend what is missing.

    Exit code 1 when something is missing.

    Examples:
        kpufit doctor

    """
    from pipeline.doctor import diagnose

    findings = diagnose(Path.cwd())
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.ok else "FAIL"
            print(f"{mark} {finding.name}: {finding.seen}")
            if not finding.ok:
                print(f"     remedy: {finding.remedy}")
    raise typer.Exit(EXIT_ACCEPTED if all(finding.ok for finding in findings) else EXIT_REJECTED)
