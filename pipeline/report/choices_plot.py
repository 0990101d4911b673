"""What was chosen for each candidate: parallel coordinates that lie down, so that a phone can show their names.

Drawn as lines: plotly's own parallel coordinates need WebGL, which neither paper nor every browser has.
"""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from pipeline.report.plots import FIRST, SECOND, THIRD, Plot, as_plot, short
from pipeline.report.search_results import Axis, Searched, Tried, choice_name
from pipeline.report.text import count, decimal, percent

_MOST = 30
"""Choices shown, the most important."""
_ROW, _MARGIN = 24, 100
"""Pixels of a row, and above and below all."""
_ACCURACY, _SIZE = "accuracy", "kmodel bytes"


def choices_plot(found: Searched) -> Plot | None:
    """Return the choices of each candidate as a line, from the lowest to the highest; None with fewer than two."""
    points = found.evaluated
    names = _names(found)
    if len(points) < 2 or not names:
        return None
    figure = go.Figure()
    front = [each for each in points if each.number in found.front and each.number != found.chosen]
    behind = [each for each in points if each.number not in found.front and each.number != found.chosen]
    chosen = [each for each in points if each.number == found.chosen]
    axes = {_ACCURACY: _of([each.accuracy or 0.0 for each in points]), _SIZE: _of([each.size for each in points])}
    axes |= {name: found.space[name] for name in names}
    for title, several, colour, width in (
        ("evaluated", behind, THIRD, 1.0),
        ("front", front, FIRST, 1.5),
        ("chosen", chosen, SECOND, 3.0),
    ):
        if several:
            figure.add_trace(_lines(title, several, axes, {"color": colour, "width": width}))
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(axes))),
        ticktext=[short(choice_name(name)) for name in axes],
        range=[len(axes) - 0.5, -0.5],
        zeroline=False,
    )
    figure.update_xaxes(tickvals=[0, 1], ticktext=["lowest", "highest"], range=[-0.1, 1.1], zeroline=False)
    of = f"the {len(names)} most important" if len(names) == _MOST else f"the {len(names)}"
    description = (
        f"What was chosen for each of {len(points)} candidates: {of} choices that differ among them, each from the "
        "lowest to the highest possible. The table has the choices of the front."
    )
    return as_plot("search-choices", "What was chosen", description, figure, _MARGIN + _ROW * len(axes))


def _names(found: Searched) -> list[str]:
    """Choices in which candidates differ, in the order of the space."""
    differing = [
        name for name in found.space if len({each.params[name] for each in found.evaluated if name in each.params}) > 1
    ]
    shares = next(iter(found.importances.values()), {})
    most = sorted(differing, key=lambda name: -shares.get(name, 0.0))[:_MOST]
    return [name for name in differing if name in most]


def _of(values: list[float]) -> Axis:
    return Axis(low=min(values), high=max(values))


def _lines(title: str, several: list[Tried], axes: dict[str, Axis], line: dict[str, Any]) -> Any:
    """One trace of all lines, with a gap between any two."""
    across: list[float | None] = []
    down: list[float | None] = []
    said: list[str] = []
    for each in several:
        values = {_ACCURACY: each.accuracy or 0.0, _SIZE: each.size, **each.params}
        for row, (name, axis) in enumerate(axes.items()):
            if name in values:  # one that has no use for a choice goes past it
                across.append(_place(values[name], axis))
                down.append(row)
                said.append(f"trial {each.number}: {short(choice_name(name))} {_say(name, values[name])}")
        across.append(None)
        down.append(None)
        said.append("")
    return go.Scatter(
        x=across, y=down, text=said, hoverinfo="text", mode="lines+markers", line=line, marker={"size": 4}, name=title
    )


def _place(value: Any, axis: Axis) -> float:
    """From 0 to 1."""
    if axis.choices:
        return axis.choices.index(value) / max(len(axis.choices) - 1, 1) if value in axis.choices else 0.0
    low, high, here = (math.log(each) if axis.log else each for each in (axis.low, axis.high, float(value)))
    return (here - low) / (high - low) if high > low else 0.5


def _say(name: str, value: Any) -> str:
    if name == _ACCURACY:
        return percent(value)
    return count(value) if isinstance(value, int) else decimal(value) if isinstance(value, float) else str(value)
