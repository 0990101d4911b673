"""The report page and the summary table."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from pipeline.report.page import confusion, memory_bar, page
from pipeline.report.results import RunResults
from pipeline.report.summary import stage_rows, summary_json, summary_table

LABELS = ["shirt", "bag", "<script>alert(1)</script>"]
VERDICT: dict[str, Any] = {
    "accepted": False,
    "firmware": "maixpy-full",
    "kmodel_version": 4,
    "checks": [
        {
            "name": "memory", "ok": False, "needed_bytes": 2_310_144, "limit_bytes": 2_000_000,
            "limit_by": "documented", "message": "310,144 over", "by": [{"layer": "conv7", "bytes": 1_000_000}],
            "remedies": ["use a smaller firmware", "prune harder: to 1,900,000 bytes, 82% of the present file"],
        },
        {"name": "kmodel version", "ok": True},
    ],
    "kmodel_bytes": 2_200_000, "heap_bytes": 109_407, "kpu_bytes": 100_000, "latency_ms": None, "cpu_ops": ["reduce"],
}  # fmt: skip
FULL = RunResults(
    "fashion-mnist-mini",
    metrics={
        "train": {"validation_accuracy": 0.9, "parameters": 120_000},
        "prune": {"validation_accuracy": 0.89, "parameters": 60_000, "predicted_bytes": 61_000,
                  "predicted_bytes_before": 130_000, "budget_bytes": 61_440},
        "replace": {"validation_accuracy": 0.885, "parameters": 59_000},
        "quantise": {"validation_accuracy": 0.88},
        "convert": {"kmodel_bytes": 61_024, "heap_bytes": 109_407, "kpu_bytes": 100_000},
        "evaluate": {"float_accuracy": 0.91, "pruned_accuracy": 0.9, "replaced_accuracy": 0.895,
                     "quantised_accuracy": 0.894, "kmodel_accuracy": 0.893},
    },
    reports={
        "prune": {"groups": [{"name": "conv1", "layers": ["conv1", "bn1"], "before": 32, "after": 20,
                              "importance_kept": 0.93}], "reached": True, "ratio": 0.4},
        "replace": {"layers": [{"name": "stem", "op": "Conv2d", "tried": [], "becomes": ["stem.0", "stem.2"],
                                "because": "5×5 runs on the CPU", "measured": {"error_fitted": 0.021}},
                               {"name": "head", "op": "Linear", "becomes": [],
                                "tried": [{"rule": "relu", "kind": "exact", "taken": False, "why": "no ReLU here"}]}],
                    "notes": []},
        "quantise": {"kept": "ptq", "why": "ptq has the better kmodel", "equalisation": [], "layers": []},
        "convert": {"layers": [{"name": "conv1", "size": 4000, "weight_loads": 2},
                               {"name": "conv2", "size": 40_000, "weight_loads": 3}], "cpu_ops": ["reduce", "matmul"]},
        "evaluate": {"labels": LABELS, "confusion": [[8, 1, 1], [0, 10, 0], [2, 0, 8]],
                     "per_class": [{"class": LABELS[2], "accuracy": 0.8}],
                     "kmodel_against_float": {"cosine": 0.999}},
    },
    verdict=VERDICT,
    provenance={"nncase": "1.9.0.20230322", "recipe's checksum": "a" * 64},
)  # fmt: skip


class Reader(HTMLParser):
    """Collects tags and ids, and fails on tags that do not close in order."""

    VOID = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values[name]) for name in ("src", "href") if name in values]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_self_contained() -> None:
    html = page(FULL)
    reader = parsed(html)
    assert html.lstrip().startswith("<!doctype html>")
    assert reader.links == []
    assert "http" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert "script" not in reader.tags
    assert len(reader.ids) == len(set(reader.ids))
    assert set(re.findall(r'aria-labelledby="(\w+)"', html)) <= set(reader.ids)
    sections = ["memory", "stages", "checks", "layers", "pruned", "replaced", "quantised", "answers", "provenance"]
    assert reader.ids == sections


def test_what_was_read_is_escaped() -> None:
    html = page(replace(FULL, recipe="<b>bold</b>"))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<h1>&lt;b&gt;bold&lt;/b&gt;</h1>" in html


@pytest.mark.parametrize(
    "words",
    ["Rejected", "310,144 over", "310,144 bytes over", "prune harder: to 1,900,000 bytes", "conv7: 1,000,000 bytes",
     "5×5 runs on the CPU", "relu: no ReLU here", "reduce, matmul", "93.00 %", "89.30 %", "1.9.0.20230322",
     "ptq has the better kmodel"],
)  # fmt: skip
def test_the_page_tells(words: str) -> None:
    assert words in page(FULL)


@pytest.mark.parametrize("stage", [*FULL.metrics, *FULL.reports])
def test_a_stage_that_has_not_run_leaves_the_rest(stage: str) -> None:
    without = replace(
        FULL,
        metrics={name: values for name, values in FULL.metrics.items() if name != stage},
        reports={name: values for name, values in FULL.reports.items() if name != stage},
    )
    parsed(page(without))


def test_nothing_has_run() -> None:
    html = page(RunResults("empty"))
    assert "Not judged yet" in html
    assert parsed(html).ids == []


def test_reports_of_another_form_are_left_out() -> None:
    odd = {"groups": "none", "layers": [1, None], "confusion": [[1]], "labels": ["a", "b"], "per_class": None}
    html = page(RunResults("odd", reports=dict.fromkeys(FULL.reports, odd)))
    assert parsed(html).ids in ([], ["quantised"])


def test_the_bar_adds_up() -> None:
    bar = memory_bar(FULL)
    assert bar is not None
    assert [segment.name for segment in bar.segments] == ["file", "main memory", "loader"]
    assert sum(segment.size for segment in bar.segments) == 2_310_144
    assert sum(segment.width for segment in bar.segments) == pytest.approx(100)
    assert bar.limit_width == pytest.approx(100 * 2_000_000 / 2_310_144)


def test_a_streamed_file_is_not_in_the_bar() -> None:
    check = VERDICT["checks"][0] | {"needed_bytes": 150_000}
    bar = memory_bar(replace(FULL, verdict=VERDICT | {"checks": [check]}))
    assert bar is not None
    assert [segment.name for segment in bar.segments] == ["main memory", "loader"]


def test_confusion_shades_are_shares_of_the_row() -> None:
    matrix = confusion(FULL)
    assert matrix is not None
    assert matrix.rows[0] == ((8, 0.8), (1, 0.1), (1, 0.1))


def test_summary_rows() -> None:
    rows = stage_rows(FULL)
    assert [row.stage for row in rows] == ["train", "prune", "replace", "quantise", "convert", "gate"]
    train, prune, *_, gate = rows
    assert (train.accuracy, train.parameters, train.predicted_bytes) == (0.91, 120_000, 130_000)
    assert (prune.accuracy, prune.predicted_bytes) == (0.9, 61_000)
    assert gate.verdict == "rejected"
    assert json.loads(json.dumps(summary_json(rows)))[0]["stage"] == "train"


def test_summary_table_reads_in_a_narrow_terminal() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(summary_table(stage_rows(FULL), "fashion-mnist-mini"))
    for words in ("train", "91.00 %", "120,000", "61,024", "rejected"):
        assert words in out.getvalue()
