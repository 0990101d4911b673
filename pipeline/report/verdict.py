"""A verdict as lines of text."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.firmware.verdict import Check


def verdict_lines(checks: Iterable[Check]) -> list[str]:
    """Return what was checked, and for what failed which layers weigh most and what would mend it."""
    lines = []
    for check in checks:
        lines.append(f"  {'ok  ' if check.ok else 'FAIL'} {check.name}{': ' if check.message else ''}{check.message}")
        if check.ok:
            continue
        for layer in check.by:
            size = f"{layer['bytes']:,} bytes" if "bytes" in layer else ""
            lines.append(f"         {layer['layer']}{': ' if size else ''}{size}")
        lines += [f"       remedy {number}: {remedy}" for number, remedy in enumerate(check.remedies, 1)]
    return lines
