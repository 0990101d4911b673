"""The result told to others: a POST to a webhook, JSON on a command's standard input."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ToolError

_TRIES = 3
_TIMEOUT_S = 15.0
_FIRST_PAUSE_S = 1.0
_COMMAND_TIMEOUT_S = 120.0


def without_secrets(url: str) -> str:
    """Return scheme and host of a URL: what is before and behind them is often the key to it."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or '?'}{f':{parts.port}' if parts.port else ''}/…"
    except ValueError:
        return "the webhook's URL"


def post(url: str, value: Any, *, pause_s: float = _FIRST_PAUSE_S, timeout_s: float = _TIMEOUT_S) -> None:
    """POST JSON; try again, after a pause that doubles, where the server is away, busy or broken.

    Args:
        url: http or https.
        value: what becomes JSON.
        pause_s: before the second try.
        timeout_s: of one try.

    Raises:
        ToolError: it was not taken; names the host and nothing else of the URL.
    """
    shown = without_secrets(url)
    try:
        allowed = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        allowed = False
    if not allowed:
        raise ToolError("is no http or https URL", where=shown, remedy="give --webhook https://HOST/PATH")
    headers = {"Content-Type": "application/json", "User-Agent": "kpufit"}
    said = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        request = urllib.request.Request(url, json.dumps(value).encode(), headers, method="POST")  # noqa: S310 - http(s)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310 - http(s)
                return
        except urllib.error.HTTPError as error:
            said = f"it answered {error.code}"
            if error.code < 500 and error.code not in (408, 429):
                break  # it would say the same again
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            said = str(getattr(reason, "strerror", None) or type(reason).__name__)
    raise ToolError(f"did not take the result ({said})", where=shown, remedy="try the URL with curl")


def run_command(command: str, value: Any, *, timeout_s: float = _COMMAND_TIMEOUT_S) -> None:
    """Run a command, without a shell, with JSON on its standard input.

    Raises:
        ToolError: it does not start, fails, or takes too long; with what it printed.
    """
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, input=json.dumps(value), capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, ValueError, IndexError) as error:
        raise ToolError(
            f"does not start ({error})", where=command, remedy="give a program and its arguments"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"took longer than {timeout_s:g} s and was stopped", where=command, remedy="let it answer sooner"
        ) from error
    if done.returncode:
        raise ToolError(
            f"ended with exit code {done.returncode}", where=command, remedy="try it with nightly/summary.json",
            log=done.stdout + done.stderr,
        )  # fmt: skip
