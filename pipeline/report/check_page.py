"""The page of ``kpufit check --html``: verdict, findings, layers, and what lives where in memory, step by step."""

from __future__ import annotations

import re
from functools import cache

import jinja2
from markupsafe import Markup, escape

from pipeline.firmware.predicted import Answer
from pipeline.kpu import latency, limits
from pipeline.report.check import headline, latency_lines, microseconds, severities, why_not_compiled
from pipeline.report.check_rows import finding_groups, layer_rows, printable, shape_text
from pipeline.report.text import count
from pipeline.report.timeline import heap_timelines, highest, kpu_timelines
from pipeline.report.timeline_drawing import drawing

_OPEN_TIMELINES = 8
"""Functions that are shown at once, those that reach highest; the others are folded away."""


def check_page(answer: Answer, name: str) -> str:
    """Return the answer as one self-contained HTML page.

    Args:
        answer: what ``kpufit check`` found.
        name: of the network, for people.
    """
    checked = answer.checked
    prediction = checked.prediction
    functions, heap = kpu_timelines(checked), heap_timelines(checked)
    shown = sorted(functions, key=lambda each: -each.peak.moment.top)[:_OPEN_TIMELINES]
    full = highest(functions)
    return _template().render(
        name=name,
        answer=answer,
        headline=headline(answer),
        reasons=why_not_compiled(prediction),
        figures=_figures(answer),
        latency=latency_lines(checked),
        left_out=latency.CPU_OPERATORS,
        severities=severities(checked),
        groups=finding_groups(checked.findings),
        rows=layer_rows(checked),
        kpu_limit=limits.KPU_MEMORY_BYTES,
        max_loads=limits.MAX_WEIGHT_LOADS,
        full=full,
        functions=[(each, drawing(each)) for each in functions if each in shown],
        folded=[(each, drawing(each)) for each in functions if each not in shown],
        heap=[(each, drawing(each)) for each in heap],
        beside=prediction.heap_bytes - (heap[0].peak.moment.top if heap and prediction.program.data else 0),
        fails=("wrong-numbers", "does-not-compile"),
    )


def _figures(answer: Answer) -> list[tuple[str, str]]:
    prediction = answer.checked.prediction
    figures = []
    if prediction.compiles:
        figures.append((f"kmodel v{prediction.version}, predicted", f"{prediction.kmodel_bytes:,} bytes"))
        figures.append(("main memory beside it", f"{prediction.heap_bytes:,} bytes"))
    share = prediction.kpu_bytes / limits.KPU_MEMORY_BYTES
    figures.append(("KPU memory", f"{prediction.kpu_bytes:,} bytes ({share:.0%} of 2 MiB)"))
    if prediction.latency is not None:
        figures.append(("KPU time", f"{prediction.latency.milliseconds():.1f} ms"))
    return figures


def _code(text: str) -> Markup:
    """What rules write between backquotes is a command."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it was escaped


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count, "shape": shape_text, "microseconds": microseconds, "printable": printable, "code": _code,
        "px": lambda length: f"{length:.1f}",
    }  # fmt: skip
    return environment.get_template("check.html")
