"""How commands print: JSON for programs, a console for tables."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OFF_TERMINAL = 140


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2))


def console() -> Console:
    """Standard output; off a terminal wide enough that no name is cut short, and without colour."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_OFF_TERMINAL, no_color=True)
