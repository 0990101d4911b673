"""The one Jinja environment of all pages: they share a frame, a style sheet and the parts that recur."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pipeline.report.check import microseconds
from pipeline.report.check_rows import printable, shape_text
from pipeline.report.text import count, percent


def render(template: str, **values: Any) -> str:
    """Return a page; whatever a value holds is text, never markup.

    Args:
        template: its name in ``templates/``.
        values: what it shows; one that the template names and that is missing is an error.
    """
    return _environment().get_template(template).render(values)


def _code(text: str) -> Markup:
    """What rules write between backquotes is a command."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it was escaped


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count, "percent": percent, "shape": shape_text, "microseconds": microseconds, "printable": printable,
        "code": _code, "px": lambda length: f"{length:.1f}",
    }  # fmt: skip
    return environment
