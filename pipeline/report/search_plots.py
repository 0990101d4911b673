"""The plots of a search: its front, how it got there, and which choices mattered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipeline.report.plots import FIRST, SECOND, THIRD, Plot, as_plot, short
from pipeline.report.search_results import Searched, Tried, areas, choice_name
from pipeline.report.text import count, decimal, percent
from pipeline.report.trends import BAD

_WIDE = 4
"""Sizes that differ by more than this factor are shown on a logarithmic axis."""
_TICKS = [step * 10**power for power in range(2, 7) for step in (1, 2, 5)]
_MOST_CHOICES = 15
_ROW, _MARGIN = 34, 110
"""Pixels of a choice with its two bars, and above and below all."""


def front_plot(found: Searched) -> Plot:
    """Return accuracy over bytes of all that was tried: the front, what fell behind it, what was turned away."""
    rejected = found.which("rejected")
    heights = [0.86, 0.14] if rejected else [1.0]
    figure = make_subplots(rows=len(heights), cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.03)
    evaluated = {each.number: each for each in found.evaluated}
    front = [evaluated[number] for number in found.front]
    behind = [each for each in found.evaluated if each.number not in found.front]
    stopped = [each for each in found.which("stopped") if each.accuracy is not None]
    shown = (
        ("stopped early", stopped, {"color": THIRD, "symbol": "circle-open", "size": 7}),
        ("evaluated", behind, {"color": FIRST, "symbol": "circle-open", "size": 9}),
        ("front", front, {"color": FIRST, "symbol": "circle", "size": 10}),
        ("chosen", [evaluated[found.chosen]], {"color": SECOND, "symbol": "star", "size": 16}),
    )
    low, high = _span([each for _, points, _ in shown for each in points], found.min_accuracy)
    figure.add_trace(_upright(found, [low, high], True), row=1, col=1)
    for name, points, marker in shown:
        if points:
            figure.add_trace(_dots(name, points, marker), row=1, col=1)
    if found.min_accuracy is not None:
        line = {"color": THIRD, "dash": "dot", "width": 1.5}
        sizes = [each.size for _, points, _ in shown for each in points]
        ends = [min(*sizes, found.budget), max(*sizes, found.budget)]
        level = [found.min_accuracy] * 2
        figure.add_trace(go.Scatter(x=ends, y=level, mode="lines", line=line, name="asked for"), row=1, col=1)
    figure.update_yaxes(title_text="accuracy, validation", tickformat=".1%", range=[low, high], row=1, col=1)
    if rejected:
        marker = {"color": BAD, "symbol": "line-ns", "size": 12, "line": {"color": BAD, "width": 1.5}}
        trace = go.Scatter(
            x=[each.size for each in rejected],
            y=[0.5] * len(rejected),
            mode="markers",
            marker=marker,
            name="not trained, as predicted",
            text=[f"trial {each.number}: {short(', '.join(each.over))}" for each in rejected],
            hoverinfo="x+text",
        )
        figure.add_trace(trace, row=2, col=1)
        figure.add_trace(_upright(found, [0, 1], False), row=2, col=1)
        figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, range=[0, 1], row=2, col=1)
    sizes = [each.size for each in (*evaluated.values(), *stopped, *rejected)]
    if max(*sizes, found.budget) > _WIDE * min(*sizes, found.budget):
        figure.update_xaxes(type="log", tickvals=_TICKS)
    figure.update_xaxes(tickformat="~s")
    figure.update_xaxes(title_text="kmodel bytes", row=len(heights), col=1)
    best = evaluated[found.chosen]
    description = (
        f"Accuracy over bytes: the front goes from {percent(front[0].accuracy)} at {count(front[0].size)} bytes to "
        f"{percent(front[-1].accuracy)} at {count(front[-1].size)}; chosen is trial {best.number}, "
        f"{percent(best.accuracy)} at {count(best.size)}. {len(rejected)} candidates were turned away as they "
        f"would not fit, the budget being {count(found.budget)} bytes. The table has the front."
    )
    return as_plot("search-front", "The best accuracy at every size", description, figure, 440)


def history_plot(found: Searched) -> Plot:
    """Return accuracy candidate by candidate, the best so far, and where size counts the area under the front."""
    points = found.evaluated
    numbers = [each.number for each in points]
    accuracies = [each.accuracy or 0.0 for each in points]
    best = list(accumulate(accuracies, max))
    sizes = "kmodel_bytes" in found.objectives
    figure = make_subplots(rows=2 if sizes else 1, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    marker = {"color": FIRST, "size": 7}
    figure.add_trace(go.Scatter(x=numbers, y=accuracies, mode="markers", marker=marker, name="evaluated"), row=1, col=1)
    line = {"color": SECOND, "shape": "hv", "width": 2}
    figure.add_trace(go.Scatter(x=numbers, y=best, mode="lines", line=line, name="best so far"), row=1, col=1)
    figure.update_yaxes(title_text="accuracy", tickformat=".1%", row=1, col=1)
    description = (
        f"The most accurate of {len(points)} evaluated candidates was trial {numbers[accuracies.index(best[-1])]} with "
        f"{percent(best[-1])}; the first had {percent(accuracies[0])}."
    )
    if sizes:
        grown = areas(points, found.budget, found.chance)
        line = {"color": FIRST, "shape": "hv", "width": 2}
        trace = go.Scatter(x=numbers, y=grown, mode="lines+markers", line=line, showlegend=False, name="area")
        figure.add_trace(trace, row=2, col=1)
        figure.update_yaxes(title_text="area", row=2, col=1)
        description += (
            f" The area under the front, accuracy above chance times the share of the budget left, went from "
            f"{decimal(grown[0])} to {decimal(grown[-1])}."
        )
    figure.update_xaxes(title_text="trial", row=2 if sizes else 1, col=1)
    return as_plot("search-history", "How the search got there", description, figure, 380 if sizes else 260)


def importance_plot(found: Searched) -> Plot | None:
    """Return how much each choice mattered, the most first; None where nothing can be said."""
    if not found.importances:
        return None
    by = "front" if "front" in found.importances else "accuracy"
    names = list(found.importances[by])[:_MOST_CHOICES]
    figure = go.Figure()
    for target, title, colour in (("front", "to be on the front", FIRST), ("accuracy", "for accuracy", SECOND)):
        if target in found.importances:
            shares = [found.importances[target].get(name, 0.0) for name in names]
            labels = [short(choice_name(name)) for name in names]
            bar = go.Bar(x=shares, y=labels, orientation="h", marker={"color": colour}, name=title)
            figure.add_trace(bar)
    figure.update_xaxes(title_text="share", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", tickmode="linear", dtick=1)
    first = ", ".join(f"{choice_name(name)} {percent(found.importances[by][name])}" for name in names[:3])
    description = f"Which choices mattered, the most first: {first}. The table has every number."
    height = _MARGIN + _ROW * len(names)
    return as_plot("search-importance", "Which choices mattered", description, figure, height)


def _span(points: Sequence[Tried], level: float | None) -> tuple[float, float]:
    """The range of accuracies, with some room."""
    values = [each.accuracy for each in points if each.accuracy is not None]
    values += [] if level is None else [level]
    room = max(0.06 * (max(values) - min(values)), 0.005)
    return min(values) - room, max(values) + room


def _upright(found: Searched, ends: list[float], named: bool) -> Any:
    """The budget."""
    line = {"color": BAD, "dash": "dash", "width": 1.5}
    name = f"budget, {count(found.budget)} bytes"
    return go.Scatter(x=[found.budget] * 2, y=ends, mode="lines", line=line, name=name, showlegend=named)


def _dots(name: str, points: Sequence[Tried], marker: dict[str, Any]) -> Any:
    line = {"color": FIRST, "shape": "hv", "width": 2}
    return go.Scatter(
        x=[each.size for each in points],
        y=[each.accuracy for each in points],
        mode="lines+markers" if name == "front" else "markers",
        line=line,
        marker=marker,
        name=name,
        text=[f"trial {each.number}" for each in points],
    )
