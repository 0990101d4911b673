"""The page for people: everything about one run in a single HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.report import tables
from pipeline.report.answers import confusion, mistakes
from pipeline.report.html import render
from pipeline.report.memory import memory_of
from pipeline.report.memory_bar import memory_bar
from pipeline.report.network import fates
from pipeline.report.plots import error_plot, path_plot, plotly_script
from pipeline.report.results import RunResults, dicts
from pipeline.report.search_section import search_section
from pipeline.report.summary import StageRow, stage_rows
from pipeline.report.text import count, decimal, percent, words


def page(results: RunResults) -> str:
    """Return the report as one self-contained HTML page. Parts whose stage has not run are left out."""
    rows = stage_rows(results)
    evaluated, quantised = results.report("evaluate"), results.report("quantise")
    matrix = confusion(results)
    found = search_section(results.report("search"))
    plots = {"path": path_plot(rows), "errors": error_plot(dicts(evaluated.get("layers")))}
    return render(
        "page.html",
        results=results,
        verdict=results.verdict,
        checks=(results.verdict or {}).get("checks", []),
        lead=_lead(results, rows),
        bar=memory_bar(results),
        path=tables.path(rows),
        search=found,
        fates=fates(results),
        layers=tables.kmodel_layers(results),
        pruned=tables.pruned_groups(results),
        replaced=tables.replaced_layers(results),
        tried=tables.tried_rules(results),
        replacing=_replacing(results),
        memory=memory_of(results.after) if results.after else None,
        kept=words(quantised.get("kept")) if quantised else "",
        why=quantised.get("why", ""),
        equalised=tables.equalised_groups(results),
        weights=tables.quantised_weights(results),
        errors=tables.layer_errors(results),
        classes=tables.class_accuracies(results),
        confusion=matrix,
        mistakes=mistakes(results.pictures, matrix.labels) if matrix else (),
        newly=(evaluated.get("newly_wrong"), evaluated.get("newly_right")),
        agreement=_agreement(results),
        plots=plots,
        plotly=plotly_script() if found or any(plots.values()) else "",
    )


def _lead(results: RunResults, rows: tuple[StageRow, ...]) -> list[tuple[str, str]]:
    """Return the figures at the top of the page."""
    verdict: Mapping[str, Any] = results.verdict or {}
    by_stage = {row.stage: row for row in rows}
    figures = []
    if "convert" in by_stage:
        figures.append(("kmodel accuracy", percent(by_stage["convert"].accuracy)))
    if "train" in by_stage:
        figures.append(("float accuracy", percent(by_stage["train"].accuracy)))
    for name, key in (("kmodel", "kmodel_bytes"), ("main memory", "heap_bytes"), ("KPU memory", "kpu_bytes")):
        if key in verdict:
            figures.append((name, f"{count(verdict[key])} bytes"))
    if verdict.get("latency_ms"):
        figures.append(("predicted time of the KPU", f"{decimal(verdict['latency_ms'])} ms"))
    return [(name, value) for name, value in figures if value]


def _replacing(results: RunResults) -> list[tuple[str, str]]:
    """Accuracy on validation images while layers were replaced; steps that were not needed are left out."""
    found = results.report("replace").get("accuracy")
    if not isinstance(found, Mapping):
        return []
    names = {
        "before": "before",
        "after_exact": "with exact replacements",
        "after_regression": "with learned ones fitted",
        "after_distillation": "after distillation",
        "after": "of the network kept",
    }
    return [(name, percent(found[key])) for key, name in names.items() if isinstance(found.get(key), int | float)]


def _agreement(results: RunResults) -> list[tuple[str, str]]:
    """How near the kmodel's answers come to those of the float network that was compiled."""
    found = results.report("evaluate").get("kmodel_against_float")
    if not isinstance(found, Mapping):
        return []
    names: dict[str, tuple[str, Callable[[Any], str]]] = {
        "cosine": ("cosine of the answers", "{:.5f}".format),
        "snr_db": ("signal to noise of the answers", "{:.1f} dB".format),
        "largest_difference": ("largest difference", decimal),
        "same_class": ("same class", percent),
    }
    return [(name, say(found[key])) for key, (name, say) in names.items() if isinstance(found.get(key), int | float)]
