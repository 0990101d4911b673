"""The page's plots, by plotly: each is data that the page's own script draws, with its numbers in a table beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup
from plotly.subplots import make_subplots

from pipeline.report.summary import StageRow
from pipeline.report.text import decimal, percent

FIRST, SECOND = "#3f86b5", "#b8741a"
"""Blue and ochre that stand out by 3:1 or more from both the light and the dark page."""
THIRD = "#80868d"
"""Grey that does so too, for what is not in front."""
_GRID = "rgba(128, 128, 128, 0.35)"
_LONGEST_NAME = 22
_ROW, _LOW_ROW, _MARGIN = 22, 15, 90
"""Pixels of a bar, of one of very many, and above and below the bars."""
_MANY = 40


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        name: its id on the page.
        caption: what it shows, in a few words.
        description: what one sees in it, for those who do not see it.
        data: its traces and layout as JSON, safe inside a script element.
        height: in pixels.
    """

    name: str
    caption: str
    description: str
    data: Markup
    height: int


def plotly_script() -> Markup:
    """Return plotly's code, to be written into the page once."""
    return Markup(plotly.offline.get_plotlyjs())  # noqa: S704 - the library's own


def path_plot(rows: Sequence[StageRow]) -> Plot | None:
    """Return accuracy and bytes stage by stage; None before there are two stages to compare."""
    shown = [row for row in rows if row.stage != "gate" and (row.accuracy is not None or row.predicted_bytes)]
    if len(shown) < 2:
        return None
    stages = [row.stage for row in shown]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.1)
    accuracies = (
        ("test images", [row.accuracy for row in shown], FIRST, "solid"),
        ("validation images", [row.validation_accuracy for row in shown], SECOND, "dot"),
    )
    for name, values, colour, dash in accuracies:
        line = {"color": colour, "dash": dash, "width": 2}
        trace = go.Scatter(x=stages, y=values, name=name, line=line, mode="lines+markers", connectgaps=True)
        figure.add_trace(trace, row=1, col=1)
    sizes = [row.kmodel_bytes or row.predicted_bytes for row in shown]
    figure.add_trace(go.Bar(x=stages, y=sizes, marker={"color": FIRST}, showlegend=False, name="bytes"), row=2, col=1)
    figure.update_yaxes(title_text="accuracy", tickformat=".1%", row=1, col=1)
    figure.update_yaxes(title_text="kmodel bytes", rangemode="tozero", row=2, col=1)
    said = [f"{row.stage} {percent(row.accuracy)}" for row in shown if row.accuracy is not None]
    description = f"Test accuracy from stage to stage: {', '.join(said)}. The table has every number."
    return as_plot("path", "Accuracy and kmodel bytes, stage by stage", description, figure, 380)


def error_plot(layers: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Return each layer's signal-to-noise ratio in running order; None without layers."""
    known = [(str(layer.get("layer")), layer.get("snr_db")) for layer in layers]
    bars = [(name, value) for name, value in known if isinstance(value, int | float)]
    if not bars:
        return None
    numbers = [f"{index} {short(name)}" for index, (name, _) in enumerate(bars, 1)]
    values = [value for _, value in bars]
    figure = go.Figure(go.Bar(x=values, y=numbers, orientation="h", marker={"color": FIRST}, name="SNR"))
    figure.update_xaxes(title_text="SNR, dB", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", tickmode="linear", dtick=1)
    worst = min(bars, key=lambda bar: bar[1])
    description = (
        f"Signal-to-noise ratio of {len(bars)} layers in running order, lowest at {worst[0]} with "
        f"{decimal(worst[1])} dB. The table has every number."
    )
    height = _MARGIN + (_ROW if len(bars) <= _MANY else _LOW_ROW) * len(bars)
    if len(bars) > _MANY:
        figure.update_yaxes(tickfont={"size": 10})
    return as_plot("errors", "Signal to noise of each layer, in running order", description, figure, height)


def as_plot(name: str, caption: str, description: str, figure: Any, height: int) -> Plot:
    """Return a plotly figure in the page's style, as data that cannot end its script element."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"size": 12, "family": "system-ui, sans-serif"},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        bargap=0.35,
        dragmode=False,
    )
    # A finger on the plot scrolls the page.
    figure.update_xaxes(gridcolor=_GRID, automargin=True, fixedrange=True)
    figure.update_yaxes(gridcolor=_GRID, automargin=True, fixedrange=True, title_standoff=8)  # beyond the labels
    text = figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Plot(name, caption, description, Markup(text), height)  # noqa: S704 - nothing in it can end the script


def short(name: str) -> str:
    """Return a label of bearable length, escaped: plotly takes it for markup."""
    if len(name) > _LONGEST_NAME:
        half = (_LONGEST_NAME - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return html.escape(name, quote=False)
