"""Bars: on a terminal, on the run's terminal from within DVC's pipe, and nowhere else; nothing else is disturbed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from pipeline.progress import TERMINAL

CODES = {
    "counting images": "from pipeline.progress import track; print(sum(track(range(3), 'counting images')))",
    "thinking": "from pipeline.progress import busy\nwith busy('thinking'): print(3)",
}
NESTED = """
from pipeline.progress import busy, track
with busy('a [layer]'):
    print(len(list(track(range(3), 'its channels'))))
"""


def on_terminal(code: str, how: str) -> tuple[bytes, bytes]:
    """Run code whose stderr is a terminal, or which is told of one, or neither; return stdout and what was drawn."""
    outer, inner = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != TERMINAL} | {"TERM": "xterm"}
    if how == "named":
        environment[TERMINAL] = os.ttyname(inner)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=inner if how == "stderr" else subprocess.PIPE,
        check=True,
    )
    os.write(inner, b"end\n")
    drawn = b""
    while b"end" not in drawn:
        drawn += os.read(outer, 1 << 16)
    assert not done.stderr
    return done.stdout, drawn


@pytest.mark.parametrize("how", ["stderr", "named", "nowhere"])
@pytest.mark.parametrize("title", CODES)
def test_where_bars_are_drawn(title: str, how: str) -> None:
    printed, drawn = on_terminal(CODES[title], how)
    assert printed == b"3\n"
    assert (title.encode() in drawn) == (how != "nowhere")


@pytest.mark.parametrize("how", ["stderr", "named"])
def test_what_is_inside_is_drawn_below_what_is_around(how: str) -> None:
    printed, drawn = on_terminal(NESTED, how)
    assert printed == b"3\n"
    assert re.search(rb"a \[layer\][^\n]*\n[^\n]*its channels", drawn)
