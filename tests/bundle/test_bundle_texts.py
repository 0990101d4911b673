"""Literals and names of C, and a folder that is written whole or not at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bundle.folder import SUMS, with_sums, write_folder
from pipeline.bundle.texts import c_name, c_string
from pipeline.errors import StorageError


@given(st.text())
def test_a_literal_of_c_is_plain_ascii_and_says_the_text(text: str) -> None:
    literal = c_string(text)
    inside = literal[1:-1]
    assert literal.isascii()
    assert literal.isprintable()
    assert '"' not in inside
    assert "?" not in inside  # no trigraphs
    assert inside.encode().decode("unicode_escape").encode("latin-1").decode() == text


@given(st.text(), st.text())
def test_names_of_c_tell_texts_apart(one: str, other: str) -> None:
    assert f"a{c_name(one)}".isidentifier()
    assert c_name(one).isascii()
    assert (c_name(one) == c_name(other)) == (one == other)


def test_a_bundle_replaces_an_earlier_one_whole(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    write_folder(folder, with_sums({"old/file": b"1", "both": b"1"}))
    write_folder(folder, with_sums({"new/file": b"2", "both": b"2"}))
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        SUMS,
        "both",
        "new/file",
    ]
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


@pytest.mark.parametrize("kind", ["file", "folder with other things"])
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "bundle.json").write_text(json.dumps("of another program"))
    with pytest.raises(StorageError, match="no bundle"):
        write_folder(target, with_sums({"a": b""}))
    assert target.read_text() == "precious" if kind == "file" else (target / "bundle.json").is_file()


def test_a_folder_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    write_folder(folder, with_sums({"a": b"1"}))
    with pytest.raises(StorageError, match="cannot be written"):
        write_folder(folder, with_sums({"a" * 300: b"2"}))
    assert (folder / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["board"]
