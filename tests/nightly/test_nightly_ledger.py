"""The ledger: whole lines or none, and reading on behind a torn one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.nightly.ledger import Entry, append, read_ledger


def entry(recipe: str, verdict: str = "new", **values: object) -> Entry:
    return Entry.model_validate({"night": "n", "time": "t", "recipe": recipe, "verdict": verdict, **values})


def test_what_was_added_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "nightly" / "ledger.jsonl"
    written = [entry("a", metrics={"kmodel_accuracy": 0.5}), entry("b", "failed", reasons=("größer",))]
    append(path, written[:1])
    append(path, written[1:])
    assert read_ledger(path).entries == tuple(written)
    assert read_ledger(path).notes == ()
    assert path.read_text().count("\n") == 2


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "ledger.jsonl").entries == ()


def test_a_torn_last_line_is_said_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    append(path, [entry("a"), entry("b")])
    path.write_bytes(path.read_bytes()[:-20])
    torn = read_ledger(path)
    assert [each.recipe for each in torn.entries] == ["a"]
    assert "line 2" in torn.notes[0]
    append(path, [entry("c")])
    assert [each.recipe for each in read_ledger(path).entries] == ["a", "c"]


def test_a_failing_write_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    append(path, [entry("a")])
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        append(path, [entry("b")])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_baseline_is_the_last_line_taken_as_one_and_never_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = [
        entry("a", baseline=True, time="1"),
        entry("a", "better", baseline=True, time="2"),
        entry("a", "worse", time="3"),
        entry("b", baseline=True, time="4"),
        entry("a", "better", baseline=True, time="5", tried={"nncase": "1.8"}),
    ]
    append(path, lines)
    ledger = read_ledger(path)
    found = ledger.baseline("a")
    assert found is not None
    assert found.time == "2"
    assert ledger.baseline("c") is None
