"""Children that crash, hang, grow or are killed: one message with a remedy, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline import files
from pipeline.compiler import child
from pipeline.errors import SetupError, StorageError, ToolError
from pipeline.files import exchange_folder

PYTHON = Path(sys.executable)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker script to write a body into; the real guard runs it."""
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "guard.py").write_text((child.WORKER / "guard.py").read_text())
    monkeypatch.setattr(child, "WORKER", folder)
    return folder / "script.py"


def run(script: Path, body: str, *, jobs: int = 1, timeout_s: float = 20.0, memory_bytes: int = 1 << 30) -> list[str]:
    """Run ``body`` as the tool; return the logs in the order of the jobs."""
    script.write_text(textwrap.dedent(body))
    paths = [script.parent / f"{index}.json" for index in range(jobs)]
    for index, path in enumerate(paths):
        path.write_text(json.dumps(index))
    tool = child.Tool("the tool", PYTHON, script.name, {"known trouble": "the known remedy"}, "the general remedy")
    list(child.run_jobs(tool, paths, workers=2, timeout_s=timeout_s, where="net.onnx", memory_bytes=memory_bytes))
    return [child.log_of(path).read_text() for path in paths]


def alive(pid: int) -> bool:
    """Whether a process runs: one that nobody waited for yet is dead too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_output_of_python_and_of_c_is_kept(script: Path) -> None:
    logs = run(script, "import os, sys; os.write(1, b'from C\\n'); print('from Python', file=sys.stderr)", jobs=3)
    assert logs == ["from C\nfrom Python\n"] * 3


@pytest.mark.parametrize(
    ("number", "remedy"), [(signal.SIGSEGV, "the general remedy"), (signal.SIGKILL, "memory ran out")]
)
def test_a_signal_is_named(script: Path, number: signal.Signals, remedy: str) -> None:
    body = f"import os; os.write(1, b'last words\\n'); os.kill(os.getpid(), {int(number)})"
    with pytest.raises(ToolError, match=rf"the tool crashed \({number.name}, ") as caught:
        run(script, body)
    assert caught.value.where == "net.onnx"
    assert remedy in caught.value.remedy
    assert "| last words" in str(caught.value)


def test_a_hanging_child_is_stopped(script: Path) -> None:
    body = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    start = time.monotonic()
    with pytest.raises(ToolError, match=r"took longer than 1 s and was stopped") as caught:
        run(script, body, timeout_s=1.0)
    assert time.monotonic() - start < 10
    assert gone(int(caught.value.log))


def test_a_growing_child_meets_its_limit(script: Path) -> None:
    with pytest.raises(ToolError, match="MemoryError"):
        run(script, "x = bytearray(2 << 30)", memory_bytes=512 << 20)


def test_the_remedy_follows_the_log(script: Path) -> None:
    with pytest.raises(ToolError, match="the tool failed: some known trouble here") as caught:
        run(script, "import sys; print('some known trouble here'); sys.exit(3)")
    assert caught.value.remedy == "the known remedy"


def test_one_failure_stops_the_others(script: Path, tmp_path: Path) -> None:
    body = f"""
        import json, os, sys, time
        if json.load(open(sys.argv[1])) == 0:
            open("{tmp_path}/pid", "w").write(str(os.getpid()))
            time.sleep(60)
        while not os.path.exists("{tmp_path}/pid") or not open("{tmp_path}/pid").read():
            time.sleep(0.01)
        sys.exit("no")
    """
    with pytest.raises(ToolError, match="the tool failed: no"):
        run(script, body, jobs=5)
    assert gone(int((tmp_path / "pid").read_text()))
    assert not (script.parent / "2.log").exists()


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    """kill -9, which no handler of ours can see."""
    sleeper = tmp_path / "sleep.py"
    sleeper.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    parent = subprocess.Popen(
        [
            PYTHON,
            "-c",
            "import sys; from pathlib import Path; from pipeline.compiler.child import Tool, run_jobs\n"
            "tool = Tool('sleep', Path(sys.executable), sys.argv[1], {}, '')\n"
            "list(run_jobs(tool, [Path(sys.argv[2])], workers=1, timeout_s=60))",
            str(sleeper),
            str(tmp_path / "job.json"),
        ]
    )
    log = tmp_path / "job.log"
    end = time.monotonic() + 20
    while not (log.exists() and log.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.02)
    pid = int(log.read_text())
    assert alive(pid)
    parent.kill()
    parent.wait()
    assert gone(pid)


def test_a_parent_dead_before_the_guard_starts_leaves_nothing(tmp_path: Path) -> None:
    stranger = str(os.getpid() + 1)
    command = [PYTHON, child.WORKER / "guard.py", stranger, str(1 << 30), PYTHON, "-c", "print('ran')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (127, "")


def test_a_missing_interpreter_asks_for_setup(script: Path) -> None:
    script.write_text("")
    tool = child.Tool("nncase", Path("/nowhere/python"), script.name, {}, "")
    with pytest.raises(SetupError, match="No such file or directory") as caught:
        list(child.run_jobs(tool, [script.parent / "job.json"], workers=1, timeout_s=5))
    assert "make setup" in caught.value.remedy


def test_an_interpreter_without_nncase_asks_for_setup(tmp_path: Path) -> None:
    tool = child.Tool("nncase", PYTHON, "compile.py", {}, "")
    with pytest.raises(SetupError, match="No module named 'nncase'"):
        list(child.run_jobs(tool, [tmp_path / "job.json"], workers=1, timeout_s=20))


def test_a_full_disk_is_one_message_and_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(StorageError, match="No space left on device") as caught, exchange_folder() as folder:
        (folder / "file").write_bytes(b"something")
        raise OSError(28, os.strerror(28), str(folder / "file"))
    assert "TMPDIR" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nncase
def test_nncase_really_crashing_is_one_message(nncase_python: Path, tmp_path: Path) -> None:
    """An empty ONNX, which is refused before any child, crashes nncase 1.9 itself."""
    (tmp_path / "network").write_bytes(b"")
    np.save(tmp_path / "calibration.npy", np.zeros((1, 3, 16, 16), np.uint8))
    options = {"target": "k210", "preprocess": True, "input_type": "uint8", "input_shape": [1, 3, 16, 16]}
    job = tmp_path / "job.json"
    files = {name: str(tmp_path / name) for name in ("network", "kmodel")}
    calibration = {"calibration": str(tmp_path / "calibration.npy"), "calibrate_method": "no_clip"}
    job.write_text(json.dumps({"kind": "onnx", "options": options, **files, **calibration}))
    tool = child.Tool("nncase", nncase_python, "compile.py", {}, "a remedy")
    with pytest.raises(ToolError, match=r"nncase crashed \(SIGSEGV, Segmentation fault") as caught:
        list(child.run_jobs(tool, [job], workers=1, timeout_s=60))
    assert "| kpufit: compiling" in str(caught.value)
    assert not (tmp_path / "kmodel").exists()
