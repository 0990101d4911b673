"""The entry point: runs the command line and turns errors into a message and exit code 2."""

from __future__ import annotations

import sys

from pipeline.failure import tell


def main() -> None:
    """Run ``kpufit``."""
    from pipeline.cli import app  # noqa: PLC0415 - kept out of the import of the package

    try:
        app()
    except Exception as error:
        sys.exit(tell("kpufit", error))


if __name__ == "__main__":
    main()
