"""The help of a command, from its docstring: paragraphs wrapped to the terminal, examples as they are written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

EXAMPLES = "Examples:"


def help_text(command: Callable[..., Any]) -> str:
    """Return a docstring with each paragraph on a line of its own, its examples apart."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(each if each.startswith(f"{EXAMPLES}\n") else each.replace("\n", " ") for each in paragraphs)
