"""The result sent on: tried again where that helps, and nothing secret said where it does not."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import ToolError
from pipeline.nightly.tell import post, run_command, without_secrets

RESULT = {"exit_code": 1, "recipes": [{"recipe": "größer", "verdict": "worse"}]}


@dataclass
class Hook:
    """A server that gives the answers it was told to, the last one again and again, and keeps what it was sent."""

    answers: list[int]
    url: str = ""
    got: list[dict] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    told = Hook([200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(told.answers.pop(0) if len(told.answers) > 1 else told.answers[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}/services/SECRET?key=SECRET"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()


def test_the_result_arrives_as_json(hook: Hook) -> None:
    post(hook.url, RESULT)
    assert hook.got == [RESULT]


def test_a_broken_server_is_tried_again(hook: Hook) -> None:
    hook.answers = [503, 500, 204]
    post(hook.url, RESULT, pause_s=0.01)
    assert len(hook.got) == 3


@pytest.mark.parametrize(("answer", "tries"), [(404, 1), (500, 3), (429, 3)])
def test_a_refusal_is_told_without_the_url_s_secrets(hook: Hook, answer: int, tries: int) -> None:
    hook.answers = [answer]
    with pytest.raises(ToolError) as refused:
        post(hook.url, RESULT, pause_s=0.01)
    assert len(hook.got) == tries
    assert str(answer) in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_a_server_that_is_away_is_told_without_secrets() -> None:
    with pytest.raises(ToolError, match="Connection refused") as away:
        post("http://127.0.0.1:9/SECRET", RESULT, pause_s=0.01)
    assert "SECRET" not in str(away.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/SECRET", "SECRET", "http://[SECRET"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ToolError, match="no http or https URL") as refused:
        post(url, RESULT)
    assert "SECRET" not in str(refused.value)


def test_user_and_password_are_not_shown() -> None:
    assert without_secrets("https://user:SECRET@host:8443/SECRET?SECRET") == "https://host:8443/…"


def test_a_command_gets_the_result_on_its_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "take.py"
    script.write_text(f"import sys, pathlib; pathlib.Path({str(tmp_path / 'got')!r}).write_text(sys.stdin.read())")
    run_command(f"{sys.executable} '{script}'", RESULT)
    assert json.loads((tmp_path / "got").read_text()) == RESULT


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{sys.executable} -c \"import sys; sys.exit('no room')\"", "no room"),
        ("no-such-program", "does not start"),
        ("", "does not start"),
        ("unclosed '", "does not start"),
    ],
)
def test_a_command_that_fails_says_why(command: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        run_command(command, RESULT)


def test_a_command_that_hangs_is_stopped() -> None:
    with pytest.raises(ToolError, match="took longer"):
        run_command(f"{sys.executable} -c 'import time; time.sleep(60)'", RESULT, timeout_s=0.2)
