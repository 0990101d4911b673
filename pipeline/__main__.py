"""The entry point: runs the command line and turns typed errors into a message and exit code 2."""

from __future__ import annotations

import sys

from pipeline.errors import EXIT_ERROR, KpufitError


def main() -> None:
    """Run ``kpufit``."""
    from pipeline.cli import app  # noqa: PLC0415 - kept out of the import of the package

    try:
        app()
    except KpufitError as error:
        print(f"kpufit: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    main()
