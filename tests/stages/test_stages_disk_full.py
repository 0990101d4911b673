"""The disk full at each write of a stage: the folder stays as it was, all of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import onnx
import pytest
from projects import replace_section
from refusals import Command, kpufit_command, refuses, stage

SITECUSTOMIZE = """
import errno
import os
from pathlib import Path

left = int(os.environ["WRITES_THAT_FIT"])
write_whole = Path.write_bytes


def write_bytes(path, content):
    global left
    if not path.is_relative_to(os.environ["FULL_DISK"]):
        return write_whole(path, content)
    left -= 1
    if left >= 0:
        return write_whole(path, content)
    write_whole(path, content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


Path.write_bytes = write_bytes
"""


def refuses_on_a_full_disk(project: Path, command: Command, disk: Path, fits: int, *says: str) -> None:
    """Run a command whose write number ``fits`` below ``disk`` ends half way with ENOSPC."""
    with tempfile.TemporaryDirectory() as mock:
        (Path(mock) / "sitecustomize.py").write_text(SITECUSTOMIZE)
        environment = {"PYTHONPATH": mock, "FULL_DISK": str(disk), "WRITES_THAT_FIT": str(fits)}
        refuses(project, command, "No space left on device", "free space", *says, **environment)


@pytest.mark.parametrize(("fits", "file"), enumerate(("chosen.yaml", "metrics.json", "report.json")))
def test_search_leaves_the_earlier_results_whole(project: Path, fits: int, file: str) -> None:
    refuses_on_a_full_disk(project, stage("search"), project / "out", fits, f"out/tiny/search/{file}")


def test_search_leaves_nothing_where_nothing_was(project: Path) -> None:
    shutil.rmtree(project / "out")
    refuses_on_a_full_disk(project, stage("search"), project / "out", 2, "out/tiny/search/report.json")


def test_train(project: Path, network: onnx.ModelProto) -> None:
    (project / "users.onnx").write_bytes(network.SerializeToString())
    replace_section(project, "model", {"source": "onnx", "path": "users.onnx"})
    replace_section(project, "train", None)
    refuses_on_a_full_disk(project, stage("train"), project / "out", 0, "out/tiny/train/network.onnx")


@pytest.mark.nncase
def test_convert(before_convert: Path) -> None:
    disk = before_convert / "out"
    refuses_on_a_full_disk(before_convert, stage("convert"), disk, 2, "out/tiny/convert/compiler.log")


@pytest.mark.nncase
def test_the_folder_in_which_nncase_works(before_convert: Path) -> None:
    disk = before_convert.parent / f"{before_convert.name}-tmp"  # TMPDIR, see refuses()
    refuses_on_a_full_disk(before_convert, stage("convert"), disk, 0, "TMPDIR")


def test_report(project: Path) -> None:
    shutil.rmtree(project / "out")
    refuses_on_a_full_disk(project, stage("report"), project / "out", 0, "out/tiny/report.html")


def test_adding_a_recipe(project: Path) -> None:
    (project / "recipes" / "second.yaml").write_text((project / "recipes" / "tiny.yaml").read_text())
    disk = project / "data" / "manifests"
    refuses_on_a_full_disk(project, kpufit_command("add", "second"), disk, 0, "data/manifests/second.json")


def test_an_out_folder_that_cannot_be_made(project: Path) -> None:
    shutil.rmtree(project / "out")
    (project / "out").write_text("a file where the folder should be")
    refuses(project, stage("search"), str(project / "out"))
