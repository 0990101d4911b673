"""How a recipe's figures went from night to night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipeline.report.plots import FIRST, SECOND, Plot, as_plot
from pipeline.report.text import count, percent

BAD = "#c8503c"
"""Red that stands out by 3:1 or more from both the light and the dark page."""


@dataclass(frozen=True)
class Point:
    """One night's result.

    Attributes:
        time: as shown.
        accuracy: on test images, as a fraction.
        kmodel_bytes: of the file.
        bad: whether it was worse or rejected.
        verdict: in words.
    """

    time: str
    accuracy: float | None
    kmodel_bytes: float | None
    bad: bool
    verdict: str


def trend_plot(name: str, recipe: str, points: Sequence[Point]) -> Plot | None:
    """Return accuracy and bytes night by night, bad ones marked; None before there are two to compare."""
    if len(points) < 2:
        return None
    times = [point.time for point in points]
    said = [point.verdict for point in points]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.1)
    for row, values, colour in (
        (1, [point.accuracy for point in points], FIRST),
        (2, [point.kmodel_bytes for point in points], SECOND),
    ):
        marker = {
            "color": [BAD if point.bad else colour for point in points],
            "symbol": ["x" if point.bad else "circle" for point in points],
            "size": 7,
        }
        trace = go.Scatter(x=times, y=values, text=said, mode="lines+markers", marker=marker, line={"color": colour})
        figure.add_trace(trace, row=row, col=1)
    figure.update_layout(showlegend=False)
    within = {"clipmin": 0, "clipmax": 1}
    figure.update_yaxes(title_text="accuracy", tickformat=".1%", autorangeoptions=within, row=1, col=1)
    figure.update_yaxes(title_text="bytes", range=_around([point.kmodel_bytes for point in points]), row=2, col=1)
    first, last = points[0], points[-1]
    description = (
        f"{recipe} over {len(points)} nights: accuracy from {percent(first.accuracy)} to {percent(last.accuracy)}, "
        f"from {count(first.kmodel_bytes)} to {count(last.kmodel_bytes)} bytes; "
        f"{sum(point.bad for point in points)} nights were worse or rejected."
    )
    return as_plot(name, f"Accuracy and kmodel bytes over {len(points)} nights", description, figure, 300)


def _around(values: Sequence[float | None]) -> list[float] | None:
    """A range of a percent on either side where all values are the same, which plotly would split into fractions."""
    known = {value for value in values if value}
    return [min(known) * 0.99, max(known) * 1.01] if len(known) == 1 else None
