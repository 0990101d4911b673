"""Firmware profiles as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from pipeline.firmware.memory import memory
from pipeline.firmware.profile import Figure, Profile
from pipeline.recipe import Target
from pipeline.report.text import count


def profiles_table(known: Sequence[Profile]) -> Table:
    """Return a row a firmware: what it loads, and what a model may take with a QVGA camera and an LCD."""
    table = Table(title="firmware (model limit with QVGA camera and LCD)", title_justify="left")
    for heading in ("name", "loads", "model limit", "by", "memory sum"):
        table.add_column(heading, justify="right" if heading in ("model limit", "memory sum") else "left", no_wrap=True)
    table.add_column("what it is")
    for profile in known:
        budget = memory(profile, Target(firmware=profile.name))
        table.add_row(
            profile.name,
            ", ".join(f"v{version}" for version in profile.versions),
            count(budget.limit),
            budget.limit_by,
            count(budget.free) if budget.complete else "not measured",
            profile.title,
        )
    return table


def profile_table(profile: Profile) -> Table:
    """Return every figure of a firmware with its status and source."""
    table = Table(title=f"{profile.name}: {profile.title}", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("status")
    table.add_column("source")
    for name, figure in _figures(profile):
        value = figure.value
        text = (
            ", ".join(map(str, value)) if isinstance(value, list) else "not measured" if value is None else count(value)
        )
        table.add_row(name, text, figure.status, figure.source)
    return table


def _figures(profile: Profile) -> list[tuple[str, Figure[object]]]:
    figures: list[tuple[str, Figure[object]]] = []
    for name in type(profile).model_fields:
        value = getattr(profile, name)
        if isinstance(value, Figure):
            figures.append((name, value))
        elif isinstance(value, dict):
            figures.extend((f"{name} v{version}", figure) for version, figure in sorted(value.items()))
    return figures
