"""A night as one HTML page that needs no network, with each recipe's figures over the nights before."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.nightly.ledger import Change, Entry
from pipeline.nightly.night import Night
from pipeline.nightly.summary import COLUMNS, columns, headline, trend, tried, when
from pipeline.report.html import render
from pipeline.report.plots import Plot, plotly_script
from pipeline.report.tables import Column, Table
from pipeline.report.trends import Point, trend_plot

_BAD = ("worse", "rejected", "failed", "timed out")
_ROWS = 30
"""Nights in the table under a plot."""


@dataclass(frozen=True)
class _Shown:
    """One recipe of the page."""

    name: str
    verdict: str
    bad: bool
    row: tuple[str, ...]
    reasons: tuple[str, ...]
    changes: tuple[Change, ...]
    against: str | None
    plot: Plot | None
    nights: Table | None


def night_page(night: Night) -> str:
    """Return the night as one self-contained HTML page."""
    shown = [_shown(night, number, entry) for number, entry in enumerate(night.entries)]
    return render(
        "nightly.html",
        night=when(night.plan.began),
        code=night.code,
        headline=headline(night),
        tried=tried(night),
        columns=COLUMNS,
        recipes=shown,
        left_out=night.left_out,
        notes=night.ledger.notes,
        commit=night.plan.commit,
        versions=night.plan.versions,
        plotly=plotly_script() if any(recipe.plot for recipe in shown) else "",
    )


def _shown(night: Night, number: int, entry: Entry) -> _Shown:
    past = trend(night, entry)
    points = [
        Point(
            time=each.time,
            accuracy=each.metrics.get("kmodel_accuracy"),
            kmodel_bytes=each.metrics.get("kmodel_bytes"),
            bad=each.verdict in _BAD,
            verdict=each.verdict,
        )
        for each in past
    ]
    return _Shown(
        name=entry.recipe,
        verdict=entry.verdict,
        bad=entry.verdict in _BAD,
        row=columns(entry),
        reasons=entry.reasons,
        changes=entry.changes,
        against=when(entry.against) if entry.against else None,
        plot=trend_plot(f"trend-{number}", entry.recipe, points),
        nights=_nights(past) if len(past) > 1 else None,
    )


def _nights(past: tuple[Entry, ...]) -> Table:
    rows = [(when(each.time), *columns(each)[1:6]) for each in reversed(past[-_ROWS:])]
    names = ("night", *COLUMNS[1:6])
    return Table(
        caption="the newest first",
        columns=tuple(Column(name, number=index > 1) for index, name in enumerate(names)),
        rows=tuple(rows),
    )
