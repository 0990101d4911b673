"""The texts of a bundle, from the templates beside this module: programs, model cards, the page that explains it."""

from __future__ import annotations

import shlex
from functools import cache
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """Return a text.

    Args:
        template: its name in ``templates/``.
        values: what it says; one that the template names and that is missing is an error.
    """
    return _environment().get_template(template).render(values)


def c_string(text: str) -> str:
    """Return a string literal of C: what is not plain ASCII as octal escapes of its UTF-8 bytes."""
    plain = set(range(0x20, 0x7F)) - {ord('"'), ord("\\"), ord("?")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_name(text: str) -> str:
    """Return a part of a name of C that tells texts apart: letters and digits stay, all else becomes its code."""
    return "".join(each if each.isascii() and each.isalnum() else f"_{ord(each):x}_" for each in text)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.bundle", "templates"),
        autoescape=False,  # noqa: S701 - programs and Markdown; every value that could hold quotes goes through a filter
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "python": ascii, "c": c_string, "c_name": c_name, "count": lambda number: f"{number:,}",
        "percent": lambda fraction: f"{fraction:.2%}", "hexadecimal": lambda number: f"0x{number:06x}",
        "shell": shlex.quote,
    }  # fmt: skip
    return environment
