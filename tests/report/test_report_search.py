"""The search on the page, and what is left of it where little is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from report_samples import FULL
from search_samples import search_report

from pipeline.report.page import page
from pipeline.report.results import RunResults
from pipeline.report.search_plots import front_plot
from pipeline.report.search_results import Tried, areas, searched_of
from pipeline.report.search_section import SearchSection, search_section

HEADING = '<h2 id="search">'


def section(report: dict[str, Any]) -> SearchSection:
    found = search_section(report)
    assert found is not None
    return found


def shown(report: dict[str, Any]) -> str:
    return page(RunResults("searched", reports={"search": report}))


def traces(report: dict[str, Any]) -> dict[str, Any]:
    found = searched_of(report)
    assert found is not None
    return {trace.get("name"): trace for trace in json.loads(front_plot(found).data)["data"]}


def tried(number: int, accuracy: float, size: int) -> Tried:
    return Tried(number, "evaluated", accuracy, size, (), {}, None, "")


def test_the_section_is_there_only_after_a_search() -> None:
    assert HEADING in page(replace(FULL, reports={**FULL.reports, "search": search_report()}))
    assert HEADING not in page(FULL)
    assert HEADING not in shown({"chosen_from": "the recipe"})


@pytest.mark.parametrize("odd", [{"trials": 1, "chosen": 0}, {"trials": [{"number": "a"}], "points": None},
                                 {**search_report(), "chosen": 999}, {**search_report(), "budget_bytes": 0},
                                 {**search_report(), "trials": []}])  # fmt: skip
def test_a_report_of_another_form_is_left_out(odd: dict[str, Any]) -> None:
    assert search_section(odd) is None


def test_every_candidate_is_in_the_plot_once() -> None:
    report = search_report()
    drawn = {name: len(trace["x"]) for name, trace in traces(report).items()}
    front = len(report["front"])
    assert drawn["front"] == front
    assert drawn["evaluated"] == report["counts"]["evaluated"] - front
    assert drawn["stopped early"] == report["counts"]["stopped"]
    assert drawn["not trained, as predicted"] == report["counts"]["rejected"]
    assert drawn["chosen"] == 1


def test_the_table_is_the_front_with_the_chosen_one_marked() -> None:
    report = search_report()
    table = section(report).table
    assert [int(row[0].split(",")[0]) for row in table.rows] == report["front"]
    assert [row[0] for row in table.rows if "chosen" in row[0]] == [f"{report['chosen']}, chosen"]


def test_no_more_than_there_is() -> None:
    report = search_report(evaluated=1, rejected=0, stopped=0)
    html = shown(report | {"importances": {}, "sensitivity": {}})
    assert HEADING in html
    assert "Too few candidates were evaluated" in html
    assert "would have failed" not in html
    assert "What each group bears" not in html
    assert "not trained, as predicted" not in traces(report)
    assert section(report).choices is None


def test_a_level_that_was_asked_for_is_drawn() -> None:
    report = search_report() | {"min_accuracy": 0.99}
    assert traces(report)["asked for"]["y"] == [0.99, 0.99]
    assert "the smallest of at least 99.00 %" in shown(report)


def test_one_objective_has_no_area() -> None:
    found = section(search_report() | {"objectives": ["accuracy"], "importances": {"accuracy": {"lr": 1.0}}})
    assert found.area == ""
    assert found.mattered is not None
    assert found.mattered.rows == (("learning rate", "100.00 %"),)


def test_what_was_read_is_text() -> None:
    html = shown(search_report())
    assert "nncase &lt;refused&gt; it" in html
    assert "nncase <refused>" not in html
    assert re.search(r"failed these checks: model bytes \(\d+\)", html)


def test_the_area_never_shrinks_and_counts_the_best_of_each_size() -> None:
    points = (tried(0, 0.55, 500), tried(1, 0.5, 600), tried(2, 1.0, 750), tried(3, 0.9, 2000))
    assert areas(points, 1000, 0.1) == pytest.approx((0.25, 0.25, 0.375, 0.375))
    found = searched_of(search_report())
    assert found is not None
    grown = areas(found.evaluated, found.budget, found.chance)
    assert list(grown) == sorted(grown)
    assert 0 < grown[-1] < 1
