"""The report page and the summary table."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_samples import FULL, LABELS, VERDICT, picture
from rich.console import Console

from pipeline.report.answers import MOST_CLASSES, confusion
from pipeline.report.check_rows import layer_rows
from pipeline.report.memory_bar import memory_bar
from pipeline.report.network import fates
from pipeline.report.page import page
from pipeline.report.results import RunResults
from pipeline.report.summary import stage_rows, summary_json, summary_table
from pipeline.report.tables import layer_errors, replaced_layers

SECTIONS = ["path", "checks", "network", "pruned", "replaced", "memory", "quantised", "answers", "provenance"]
SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)


class Reader(HTMLParser):
    """Collects tags and ids, and fails on tags that do not close in order."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID or (tag == "rect" and not str(self.get_starttag_text()).endswith("/>")):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values[name]) for name in ("src", "href") if name in values]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def headings(html: str) -> list[str]:
    """Ids of the sections that are there."""
    return re.findall(r'<h2 id="(\w+)">', html)


def test_the_page_is_whole_and_self_contained() -> None:
    html = page(FULL)
    reader = parsed(html)
    assert html.lstrip().startswith("<!doctype html>")
    assert all(link.startswith(("#", "data:image/")) for link in reader.links)
    own = SCRIPT.sub("", html)
    assert "://" not in own
    assert "@import" not in html
    assert re.findall(r"url\(([^)]*)\)", own) == ["#gap"] * own.count("url(")
    assert len(reader.ids) == len(set(reader.ids))
    assert set(re.findall(r'aria-labelledby="(\w+)"', html)) <= set(reader.ids)
    assert headings(html) == SECTIONS
    assert [link[1:] for link in reader.links if link.startswith("#")] == SECTIONS


def test_what_was_read_is_escaped() -> None:
    html = page(replace(FULL, recipe="<b>bold</b>"))
    assert LABELS[2] not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<h1>&lt;b&gt;bold&lt;/b&gt;</h1>" in html


@pytest.mark.parametrize(
    "words",
    ["<strong>rejected</strong>", "310,144 over", "310,144 bytes over", "prune harder: to 1,900,000 bytes",
     "conv7: 1,000,000 bytes",
     "5×5 runs on the CPU", "no ReLU here", "reduce, matmul", "93.00 %", "89.30 %", "1.9.0.20230322", "seed: 0",
     "ptq has the better kmodel", "<b>24</b> of 32 channels", "large-kernel (learned)", "CPU conv2d", "conv 5×5",
     "gets 2 wrong", "and 1 right", "97.00 %", "taken for &lt;script&gt;",
     "with learned ones fitted", "87.10 %"],
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
    html = page(without)
    parsed(html)
    assert set(headings(html)) <= set(SECTIONS)


def test_nothing_has_run() -> None:
    html = page(RunResults("empty"))
    assert "Not judged yet" in html
    assert headings(html) == []
    assert "script" not in parsed(html).tags


def test_reports_of_another_form_are_left_out() -> None:
    odd = {"groups": "none", "layers": [1, None], "confusion": [[1]], "labels": ["a", "b"], "per_class": None}
    html = page(RunResults("odd", reports=dict.fromkeys(FULL.reports, odd)))
    assert headings(html) in ([], ["quantised"])


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


def test_many_classes_are_told_by_their_most_frequent_mistakes() -> None:
    names = [f"class {number}" for number in range(MOST_CLASSES + 1)]
    matrix = [[5 * (row == column) for column in range(len(names))] for row in range(len(names))]
    matrix[7][9] = 3
    evaluated = {**FULL.reports["evaluate"], "labels": names, "confusion": matrix}
    many = replace(FULL, reports={**FULL.reports, "evaluate": evaluated}, pictures=())
    found = confusion(many)
    assert found is not None
    assert found.frequent == (("class 7", "class 9", 3, 3 / 8),)
    html = page(many)
    parsed(html)
    assert "<td>class 9</td>" in html
    assert 'class="confusion"' not in html


def test_the_worst_layer_comes_first_and_one_without_error_last() -> None:
    table = layer_errors(FULL)
    assert table is not None
    assert [row[0] for row in table.rows] == ["bad", "good", "same"]
    assert table.rows[0][2:] == ("7.0", "0.90000", "20.00 %")
    assert table.rows[2][2] == "no error"
    assert "compiler's own" not in table.note


def test_convolutions_that_only_the_compiler_knows_are_counted() -> None:
    more = [{"name": f"step {number}", "size": 9, "weight_loads": 1} for number in range(5)]
    table = layer_errors(replace(FULL, reports={**FULL.reports, "convert": {"layers": more}}))
    assert table is not None
    assert "2 of the kmodel's convolutions are the compiler's own" in table.note


def test_what_became_of_each_layer() -> None:
    found = {fate.before.name: fate for fate in fates(FULL)}
    stem, inner = found["conv0"], found["conv2"]
    assert stem.before.unit == "CPU conv2d"
    assert stem.rules == (("large-kernel", "learned"),)
    assert [row.name for row in stem.after] == ["conv0_part1", "conv0"]
    assert stem.channels is None
    assert inner.channels == (32, 24)
    assert [row.name for row in inner.after] == ["conv2"]
    assert FULL.after is not None
    assert [row.name for fate in found.values() for row in fate.after] == [row.name for row in layer_rows(FULL.after)]


def test_replacements_for_the_same_reason_are_one_row() -> None:
    tried = [{"rule": "clip", "kind": "exact", "taken": True, "why": "behind a convolution"}]
    layers = [
        {"name": name, "op": "ReLU", "becomes": [name], "because": "moves slices", "measured": {}, "tried": tried}
        for name in ("act1", "act2")
    ]
    table = replaced_layers(replace(FULL, reports={"replace": {"layers": layers}}))
    assert table is not None
    assert table.rows == (("act1, act2", "ReLU", "act1, act2", "clip (exact)", "moves slices", "–"),)


def test_pictures_of_any_number_of_channels_are_shown() -> None:
    pictures = tuple(picture(number, channels=channels) for number, channels in enumerate((1, 2, 3, 4)))
    html = page(replace(FULL, pictures=pictures))
    assert html.count('src="data:image/webp;base64,') == len(pictures)


def test_summary_rows() -> None:
    rows = stage_rows(FULL)
    assert [row.stage for row in rows] == ["train", "prune", "replace", "quantise", "convert", "gate"]
    train, prune, *_, gate = rows
    assert (train.accuracy, train.parameters, train.predicted_bytes) == (0.91, 120_000, 130_000)
    assert (prune.accuracy, prune.predicted_bytes, prune.latency_ms) == (0.9, 61_000, 0.7)
    assert (train.latency_ms, gate.latency_ms) == (0.9, 0.65)
    assert gate.verdict == "rejected"
    assert json.loads(json.dumps(summary_json(rows)))[0]["stage"] == "train"


def test_summary_table_reads_in_a_narrow_terminal() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(summary_table(stage_rows(FULL), "fashion-mnist-mini"))
    for words in ("train", "91.00 %", "120,000", "61,024", "rejected"):
        assert words in out.getvalue()
