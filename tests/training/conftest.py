"""A small recipe section, small data sets and a web server of one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipeline.recipe import Data
from pipeline.training.data.sets import DataSet

MakeData = Callable[..., Data]


@pytest.fixture
def make_data() -> MakeData:
    """Return a function that makes a recipe's data section for two classes of 8×8 grey images."""

    def make(**changes: object) -> Data:
        values = {
            "name": "npz",
            "path": "own.npz",
            "image": (1, 8, 8),
            "mean": [0.5],
            "std": [0.5],
            "labels": ["dark", "light"],
            "validation": 10,
        }
        return Data.model_validate({**values, **changes})

    return make


@pytest.fixture
def two_kinds() -> DataSet:
    """Return 120 grey 8×8 images, dark (0) and light (1) by turns, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.integers(0, 120, (120, 1, 8, 8)) + 110 * labels[:, None, None, None]
    return DataSet(images.astype(np.uint8), labels.astype(np.int64))


@dataclass
class Web:
    """A web server on this machine: what it serves and what it was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True


@pytest.fixture
def web() -> Iterator[Web]:
    """Yield a server that understands ranges and can cut a transfer short once."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.ranges.append(self.headers.get("Range"))
            content = served.files.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            wanted, start = self.headers.get("Range"), 0
            if wanted and served.knows_ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            sent = content[start:]
            if served.cut_after is not None:
                sent, served.cut_after = sent[: served.cut_after], None
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
