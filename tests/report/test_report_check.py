"""What ``kpufit check`` prints: JSON, tables, summary, and the page with the timelines of memory."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import onnx
import pytest
from kpu.prediction_networks import ALL_KPU, WITH_CPU, Builder
from rich.console import Console

from pipeline.firmware.predicted import Answer, check_for, chosen_profiles
from pipeline.kpu.check import Checked, check_network
from pipeline.kpu.limits import KPU_MEMORY_BYTES
from pipeline.kpu.memory.fragmentation import end, last, occupancy
from pipeline.kpu.nncase.schedule import Placed
from pipeline.kpu.rules import Finding
from pipeline.recipe import Target
from pipeline.report.check import check_json, findings_table, layers_table, summary_lines
from pipeline.report.check_page import check_page
from pipeline.report.check_rows import finding_groups, layer_rows, row_names
from pipeline.report.timeline import Timeline, heap_timelines, kpu_timelines
from pipeline.report.timeline_drawing import drawing

ROOT = Path(__file__).parents[2]
NASTY = '<b onload=alert(1)>\x1b[31m & "conv"'
NETWORKS = {**ALL_KPU, **WITH_CPU}


def fragmented() -> Builder:
    """Maps of 1.0, 0.5 and 1.3 MiB in a row: each pair fits, but not where first-fit puts them."""
    return Builder(3, 128, 128).conv(64, 1).conv(32, 1).conv(83, 1).conv(8, 1, 2)


def answer(net: Builder, firmware: str | None = None) -> Answer:
    return check_for(net.model(), chosen_profiles(firmware, ROOT), Target(firmware=firmware or ""), ROOT, raw=True)


def checked(net: Builder) -> Checked:
    return check_network(net.model(), raw=True)


def renamed(net: Builder, name: str) -> onnx.ModelProto:
    model = net.model()
    for index, node in enumerate(model.graph.node):
        node.name = f"{name} {index}"
    return model


def text(renderable: object) -> str:
    out = io.StringIO()
    Console(file=out, width=140, no_color=True).print(renderable)
    return out.getvalue()


class Page(HTMLParser):
    """Collects attributes and the text that a reader sees, and fails on tags that do not close in order."""

    VOID = frozenset({"meta", "rect", "line"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID or (tag == "rect" and self.get_starttag_text()[-2:] != "/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_in_one_row(name: str) -> None:
    found = checked(NETWORKS[name]())
    rows = layer_rows(found)
    layers = [layer for row in rows for layer in row.layers]
    assert sorted(layers) == sorted(layer.name for layer in found.network.layers)
    assert all(row.layers[0] == row.name for row in rows)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row.weight_bytes for row in rows) == sum(layer.weight_bytes for layer in found.prediction.layers)
    assert sum(row.cycles or 0 for row in rows) == sum(layer.cycles or 0 for layer in found.prediction.layers)


def test_activations_and_batch_norm_go_with_their_convolution() -> None:
    net = Builder(3, 32, 32).conv(16, act="").batch_norm().conv(24, 1, 2).depthwise().head(5)
    rows = layer_rows(check_network(net.model(), 4))
    assert [row.operator for row in rows[:3]] == [
        "conv 3×3 + batch normalization", "conv 1×1 stride 2 + clip", "depthwise 3×3 + clip"
    ]  # fmt: skip
    assert rows[0].out_shape == (16, 32, 32)
    assert rows[1].out_shape == (24, 16, 16)
    assert {row.unit for row in rows[:3]} == {"KPU"}
    assert [(row.operator, row.unit, row.mark) for row in rows[3:]] == [
        ("reduce mean", "CPU reduce", "head"), ("gemm", "CPU matmul", "head")
    ]  # fmt: skip


def test_a_stride_that_nncase_moves_leaves_both_convolutions_their_rows() -> None:
    net = Builder(3, 96, 96).conv(16, 3, 2).depthwise(2).conv(32, 1)
    found = checked(net)
    assert [row.operator for row in layer_rows(found)] == [
        "conv 3×3 stride 2 + clip", "depthwise 3×3 stride 2 + clip", "conv 1×1 + clip"
    ]  # fmt: skip
    (timeline,) = kpu_timelines(found)
    assert [block.name for block in timeline.blocks] == ["image", "conv0", "conv2", "conv4"]


def test_a_concat_has_a_row_of_its_own() -> None:
    rows = layer_rows(checked(WITH_CPU["concat"]()))
    assert "concat" in [row.operator for row in rows]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("version", [3, 5])
def test_what_lives_at_once_does_not_overlap(name: str, version: int) -> None:
    prediction = check_network(NETWORKS[name]().model(), version, raw=True).prediction
    pools = [each.maps for each in prediction.program.functions] + [each.data for each in prediction.program.functions]
    for pool in [*pools, prediction.program.data]:
        for moment in occupancy(pool):
            assert all(one.start >= 0 for one in moment.live)
            assert all(end(one) <= other.start for one, other in zip(moment.live, moment.live[1:], strict=False))
            assert moment.live_bytes + moment.lost_bytes == moment.top


@pytest.mark.parametrize("name", NETWORKS)
def test_timelines_reach_what_is_predicted(name: str) -> None:
    found = checked(NETWORKS[name]())
    timelines = kpu_timelines(found)
    assert max(timeline.peak.moment.top for timeline in timelines) == found.prediction.kpu_bytes
    first, *inside = heap_timelines(found)
    tops = [timeline.peak.moment.top for timeline in inside]
    assert first.peak.moment.top + max(tops, default=0) == found.prediction.heap_bytes
    for timeline in [*timelines, first, *inside]:
        assert_drawn_in_place(timeline)


def assert_drawn_in_place(timeline: Timeline) -> None:
    """Every rectangle lies in the plot, no two overlap, and the gaps are the rest below the highest of each step."""
    shapes = drawing(timeline)
    boxes = [*shapes.blocks, *shapes.gaps]
    for box in boxes:
        assert shapes.left <= box.x < box.x + box.width <= shapes.right
        assert 0 <= box.y <= box.y + box.height <= shapes.bottom + 1
        assert box.y >= shapes.peak.y - 0.01
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            over = one.y + one.height <= other.y + 1 or other.y + other.height <= one.y + 1
            assert beside or over
    assert len(shapes.steps) == len(timeline.steps)


def test_fragmentation_is_what_lies_between() -> None:
    def buffer(start: int, size: int, born: int, dies: int) -> Placed:
        return Placed("x", size, start, born, dies, (1, size), "u8")

    one, two, three = buffer(0, 100, 0, 2), buffer(104, 64, 1, 5), buffer(168, 8, 3, 2)
    first, second, third = occupancy([one, two, three])
    assert (first.live_bytes, first.top, first.lost_bytes) == (104, 104, 0)  # aligned to 8
    assert (second.live_bytes, second.top, second.gaps) == (168, 168, ())
    assert (third.step, third.live_bytes, third.top, third.gaps) == (3, 72, 176, ((0, 104),))
    assert last(three) == 3  # nothing reads it, but the step that writes it needs it
    assert occupancy([]) == ()


def test_a_network_that_fragmentation_alone_refuses() -> None:
    found = answer(fragmented())
    (timeline,) = kpu_timelines(found.checked)
    assert timeline.needed < KPU_MEMORY_BYTES < timeline.peak.moment.top
    said = " ".join(timeline.sentences)
    assert "1,097,728 bytes are lost to fragmentation" in said
    assert "only for the gaps" in said
    values = check_json(found, "net.onnx")
    assert values["predicted"]["kmodel_bytes"] is None
    assert values["predicted"]["heap_bytes"] is None
    assert values["predicted"]["kpu_bytes"] == timeline.peak.moment.top
    assert values["fits"] is False
    shapes = drawing(timeline)
    assert shapes.limit is not None
    assert shapes.limit.y > shapes.peak.y
    lines = summary_lines(found, "net.onnx")
    assert lines[0] == "net.onnx: does not compile"
    assert any("884,736 bytes over the KPU's 2 MiB" in line for line in lines)
    assert not any("bytes predicted" in line for line in lines)


def test_json_has_the_documented_form() -> None:
    found = answer(WITH_CPU["5x5 stem"](), "maixpy-full")
    values = json.loads(json.dumps(check_json(found, "net.onnx")))
    assert {"network", "layers", "findings", "predicted", "firmware", "fits"} <= set(values)
    assert {"name", "op", "unit", "kpu_bytes", "weight_bytes", "cycles"} <= set(values["layers"][0])
    assert [layer["name"] for layer in values["layers"]] == [layer.name for layer in found.checked.network.layers]
    assert {layer["unit"] for layer in values["layers"]} <= {"kpu", "cpu", "none"}
    assert set(values["predicted"]) == {"kmodel_bytes", "heap_bytes", "kpu_bytes", "latency_ms"}
    assert values["predicted"]["kmodel_bytes"] == found.checked.prediction.kmodel_bytes
    assert values["firmware"] == "maixpy-full"
    keys = {"layer", "op", "rule", "severity", "seen", "limit", "why", "replacement"}
    assert values["findings"]
    assert all(set(finding) == keys for finding in values["findings"])
    assert values["fits"] is found.fits
    assert [check["name"] for check in values["failed"]] == [
        check.name for check in found.verdicts["maixpy-full"].failures
    ]


def test_json_for_all_firmwares_repeats_no_layer() -> None:
    found = answer(ALL_KPU["mobilenet"](), "all")
    values: dict[str, Any] = check_json(found, "net.onnx")
    assert values["firmware"] == "all"
    assert set(values["firmwares"]) == set(found.verdicts)
    for name, each in values["firmwares"].items():
        assert each["kmodel_version"] == found.verdicts[name].facts.version
        assert each["fits"] is found.verdicts[name].accepted
        assert each["predicted"]["kmodel_bytes"] == found.verdicts[name].facts.kmodel_bytes
        assert "layers" not in each


def test_json_without_a_firmware() -> None:
    values = check_json(answer(ALL_KPU["one layer"]()), "net.onnx")
    assert (values["firmware"], values["fits"], values["compiles"]) == (None, True, True)


def test_the_table_is_readable_in_140_columns() -> None:
    shown = text(layers_table(checked(WITH_CPU["5x5 stem"]())))
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 140
    assert "conv0" in shown
    assert "conv 5×5 stride 2 + clip" in shown
    assert "16×16×16" in shown
    assert re.search(r"│ conv0 .*│ CPU conv2d .*│ cpu: kernel", shown)
    assert re.search(r"│ conv2 .*│ KPU ", shown)


def test_findings_are_grouped_by_rule_and_the_worst_comes_first() -> None:
    def finding(layer: str, rule: str, severity: str, seen: str) -> Finding:
        return Finding(layer, "Conv", rule, severity, seen, "holds", "why", "mend")  # type: ignore[arg-type]

    found = [
        finding("a", "soft", "accuracy", "x"),
        finding("b", "hard", "wrong-numbers", "5×5"),
        finding("c", "soft", "accuracy", "x"),
        finding("d", "soft", "accuracy", "y"),
    ]
    groups = finding_groups(found)
    assert [(group.rule, group.count) for group in groups] == [("hard", 1), ("soft", 3)]
    assert groups[1].seen == (("x", ("a", "c")), ("y", ("d",)))


def test_the_findings_table_says_where_and_what_would_mend_it() -> None:
    found = checked(WITH_CPU["5x5 and 7x7 inside"]())
    shown = text(findings_table(found))
    assert max(map(len, shown.splitlines())) <= 140
    for word in ("kernel", "conv2", "5×5", "conv4", "7×7", "1×1 or 3×3", "replace"):
        assert word in shown


def test_the_summary_says_which_firmware_can_hold_it() -> None:
    lines = summary_lines(answer(ALL_KPU["classifier"](), "all"), "net.onnx")
    assert re.match(r"net.onnx: fits \d of \d firmwares", lines[0])
    assert any(line.strip().startswith("ok") and "maixpy-full" in line for line in lines)
    assert any("latency" in line and "400 MHz" in line for line in lines)
    one = summary_lines(answer(WITH_CPU["5x5 stem"](), "maixpy-full"), "net.onnx")
    assert any("maixpy-full (kmodel v4): does not fit" in line for line in one)
    assert any("remedy 1" in line for line in one)


def test_names_of_a_users_file_are_text() -> None:
    model = renamed(Builder(3, 32, 32).conv(16, 5).conv(8).head(4), NASTY)
    found = check_for(model, chosen_profiles("maixpy-full", ROOT), Target(firmware="maixpy-full"), ROOT, raw=True)
    html = check_page(found, NASTY)
    page = Page(html)
    assert "<b onload" not in html
    assert "<b onload=alert(1)>" in page.text
    assert "\x1b" not in html
    out = text(layers_table(found.checked)) + text(findings_table(found.checked))
    out += "\n".join(summary_lines(found, NASTY))
    assert "\x1b" not in out
    bracketed = check_network(renamed(Builder(3, 32, 32).conv(16), "[red]n[/red]"), raw=True)
    assert "[red]n[/red] 0" in text(layers_table(bracketed))


@pytest.mark.parametrize("firmware", [None, "maixpy-full", "all"])
@pytest.mark.parametrize("net", [fragmented, WITH_CPU["residual"], ALL_KPU["classifier"]])
def test_the_page_stands_alone(net: Any, firmware: str | None) -> None:
    found = answer(net(), firmware)
    html = check_page(found, "net.onnx")
    page = Page(html)
    references = [value or "" for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert references == []
    assert "://" not in html
    assert "@import" not in html
    assert len(page.ids) == len(set(page.ids))
    labels = [value for name, value in page.attributes if name == "role" and value == "img"]
    assert len(labels) == len(kpu_timelines(found.checked)) + len(heap_timelines(found.checked))
    for row in layer_rows(found.checked):
        assert row.name in page.text
    for name in found.verdicts:
        assert name in page.text


def test_the_page_folds_functions_beyond_the_highest() -> None:
    net = Builder(3, 32, 32).conv(16)
    for _ in range(9):
        net.conv(16, 5).conv(16)
    found = answer(net)
    functions = kpu_timelines(found.checked)
    assert len(functions) > 8
    page = Page(check_page(found, "net.onnx"))
    assert f"{len(functions) - 8} more functions" in page.text


def test_a_network_without_a_kpu_layer() -> None:
    found = answer(Builder(3, 32, 32).conv(8, 5).conv(4, 7))
    assert kpu_timelines(found.checked) == ()
    assert "Nothing runs on the KPU" in Page(check_page(found, "net.onnx")).text
    assert not any("latency" in line for line in summary_lines(found, "net.onnx"))


def test_rows_follow_nncase() -> None:
    names = row_names(checked(Builder(3, 32, 32).conv(16).pool().conv(8, 1, act="leaky")))
    assert list(names.values()) == ["conv0", "conv0", "conv0", "conv3", "conv3"]


def test_what_nncase_refuses_has_a_row_of_its_own() -> None:
    net = Builder(3, 32, 32).conv(16, act="").pool()._node("LeakyRelu", ["maxpool1"], alpha=0.1)
    found = answer(net)
    refusals = found.checked.prediction.refusals
    assert refusals
    assert refusals[0].layer in [row.name for row in layer_rows(found.checked)]
    assert check_json(found, "net.onnx")["predicted"]["kmodel_bytes"] is None
    said = f"nncase 1.9 refuses {refusals[0].layer}"
    assert any(said in line for line in summary_lines(found, "net.onnx"))
    assert said in Page(check_page(found, "net.onnx")).text
