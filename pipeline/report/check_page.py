"""The page of ``kpufit check --html``: verdict, findings, layers, and what lives where in memory, step by step."""

from __future__ import annotations

from pipeline.firmware.predicted import Answer
from pipeline.kpu import latency, limits
from pipeline.report.check import headline, latency_lines, severities, size_lines, why_not_compiled
from pipeline.report.check_rows import finding_groups, layer_rows
from pipeline.report.html import render
from pipeline.report.memory import memory_of


def check_page(answer: Answer, name: str) -> str:
    """Return the answer as one self-contained HTML page.

    Args:
        answer: what ``kpufit check`` found.
        name: of the network, for people.
    """
    checked = answer.checked
    return render(
        "check.html",
        name=name,
        answer=answer,
        headline=headline(answer),
        reasons=[*why_not_compiled(checked.prediction), *size_lines(checked)],
        figures=_figures(answer),
        latency=latency_lines(checked),
        left_out=latency.CPU_OPERATORS,
        severities=severities(checked),
        groups=finding_groups(checked.findings),
        rows=layer_rows(checked),
        max_loads=limits.MAX_WEIGHT_LOADS,
        memory=memory_of(checked),
        fails=("wrong-numbers", "does-not-compile", "may-not-run"),
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
