"""The child process: its crashes, silence and errors become typed ones, and it does not outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import DataError, KpufitError, NetworkError, ToolError
from pipeline.quantisation.child import run_child
from pipeline.quantisation.exchange import get_error, put_error

PREAMBLE = "import os, sys, time, signal, pathlib; notes = int(sys.argv[-1])\n"


def run(folder: Path, code: str, silence_s: float = 20.0) -> list[str]:
    lines: list[str] = []
    run_child([sys.executable, "-c", PREAMBLE + code], folder, silence_s=silence_s, notify=lines.append)
    return lines


def test_notes_arrive_line_by_line_and_output_goes_to_the_log(tmp_path: Path) -> None:
    lines = run(tmp_path, "os.write(notes, b'one\\ntw'); print('printed', flush=True); os.write(notes, b'o\\n')")
    assert lines == ["one", "two"]
    assert (tmp_path / "log.txt").read_text() == "printed\n"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_signal_is_named_with_the_log(tmp_path: Path, name: str) -> None:
    with pytest.raises(ToolError, match=name) as raised:
        run(tmp_path, f"print('last words', flush=True); os.kill(os.getpid(), signal.{name})")
    assert "last words" in str(raised.value)


def test_silence_is_a_hang_and_ends_it(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(ToolError, match="no sign of life"):
        run(tmp_path, "pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)", silence_s=1.0)
    assert time.monotonic() - start < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_signs_of_life_keep_it_running(tmp_path: Path) -> None:
    code = "[(time.sleep(0.4), os.write(notes, b'alive\\n')) for _ in range(5)]"
    assert run(tmp_path, code, silence_s=1.2) == ["alive"] * 5


def test_a_python_error_shows_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="ZeroDivisionError"):
        run(tmp_path, "1 / 0")


def test_running_out_of_memory_says_so(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28)); b = bytearray(1 << 30)"
    with pytest.raises(ToolError) as raised:
        run(tmp_path, code)
    assert "memory limit" in raised.value.remedy


@pytest.mark.parametrize(
    "error",
    [
        NetworkError("cannot be carried", where="conv1", remedy="replace it"),
        DataError("too few", remedy="give more"),
        ToolError("refused", where="network", log="its last line"),
    ],
)
def test_a_typed_error_crosses_over_whole(tmp_path: Path, error: KpufitError) -> None:
    put_error(tmp_path, error)
    with pytest.raises(type(error)) as raised:
        run(tmp_path, "sys.exit(2)")
    assert str(raised.value) == str(error)


def test_without_an_error_file_there_is_no_typed_error(tmp_path: Path) -> None:
    assert get_error(tmp_path) is None


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed while the worker sleeps takes it along."""
    child = (
        "import os, sys, time, pathlib; from pipeline.processes import die_with_parent; "
        "die_with_parent(int(sys.argv[1])); pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    )
    parent = (
        "import os, sys, pathlib; from pipeline.quantisation.child import run_child; "
        f"run_child([sys.executable, '-c', {child!r}, str(os.getpid())], pathlib.Path({str(tmp_path)!r}), "
        "silence_s=60, notify=print)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    number = int(pid.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    while Path(f"/proc/{number}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    assert not Path(f"/proc/{number}").exists()


def test_the_parent_does_not_import_tensorflow() -> None:
    code = (
        "import sys, pipeline.quantisation.quantise; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
