from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline import files
from pipeline.errors import StorageError
from pipeline.files import read_json, replacing, write_json, write_text


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.json"
    write_text(target, "old")
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(StorageError, match="No space left on device"):
        write_json(target, {"new": 1})
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.npy") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/inside"):
        write_text(tmp_path / "file" / "inside", "text")


def test_torn_json_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.')
    with pytest.raises(StorageError, match=r"metrics\.json"):
        read_json(tmp_path / "metrics.json")
