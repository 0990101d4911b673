"""Bars: on a terminal, on the run's terminal from within DVC's pipe, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from pipeline.progress import TERMINAL

CODE = "from pipeline.progress import track; print(sum(track(range(3), 'counting images')))"


@pytest.mark.parametrize("how", ["stderr", "named", "nowhere"])
def test_where_bars_are_drawn(how: str) -> None:
    outer, inner = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != TERMINAL} | {"TERM": "xterm"}
    if how == "named":
        environment[TERMINAL] = os.ttyname(inner)
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=inner if how == "stderr" else subprocess.PIPE,
        check=True,
    )
    os.write(inner, b"end\n")
    drawn = b""
    while b"end" not in drawn:
        drawn += os.read(outer, 1 << 16)
    assert done.stdout == b"3\n"
    assert not done.stderr
    assert (b"counting images" in drawn) == (how != "nowhere")
