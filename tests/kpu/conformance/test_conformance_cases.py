"""The suite has what it promises: every row of kpu.md §3 and enough beside."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
from conformance_cases import CASES, Row


def test_every_row_has_cases() -> None:
    assert {case.row for case in CASES.values()} == set(Row)
    assert len(CASES) >= len(Row) + 60


def test_the_rows_are_those_of_the_facts(shared: Path) -> None:
    section = (shared / "facts" / "kpu.md").read_text().split("\n## ")[3]
    rows = re.findall(r"^\| (.*?) \|", section, flags=re.MULTILINE)[1:]
    assert section.startswith("3.")
    assert rows == [str(row) for row in Row if row]


def test_every_case_is_a_small_valid_network_with_all_shapes() -> None:
    for name, case in CASES.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        model = case.build()
        assert len(model.graph.input) == 1, name
        assert model.ByteSize() < 20_000_000, name
        known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
        assert {tensor for node in model.graph.node for tensor in node.output} <= known, name
        onnx.checker.check_model(model, full_check=True)


def test_a_case_is_the_same_each_time() -> None:
    for name in ("conv-chain", "split-c2f", "squeeze-excite"):
        assert CASES[name].build() == CASES[name].build()
