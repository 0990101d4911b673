"""A real PostgreSQL, of Debian's package, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

_DEBIAN = "/usr/lib/postgresql"
_USER, PASSWORD, _NAME = "kpufit", "hush-hush", "studies"


def program(name: str) -> str | None:
    """Where a program of PostgreSQL is: Debian keeps them beside the path."""
    folders = sorted(Path(_DEBIAN).glob("*/bin"), key=lambda path: float(path.parent.name))
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, reversed(folders))]))


@dataclass(frozen=True)
class Postgres:
    """A server that can be stopped and started again.

    Attributes:
        folder: its data.
        port: on this machine.
    """

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}:{PASSWORD}@127.0.0.1:{self.port}/{_NAME}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._control("start", "-o", options, "-l", str(self.folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """Stop it as a crash does, unless told otherwise."""
        self._control("stop", "-m", mode)

    def _control(self, *arguments: str) -> None:
        as_user("pg_ctl", "-D", str(self.folder), "-w", *arguments)


def as_user(name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL, which root may not, with no output to wait for."""
    found = program(name)
    assert found is not None
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    subprocess.run([*drop, found, *arguments], cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=60)


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Make a server with an empty database in ``folder``, and stop it in the end."""
    folder.mkdir(parents=True)
    password = folder / "password"
    password.write_text(PASSWORD)
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.getuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        for parent in (folder, *folder.parents):  # pytest's folders are for their owner alone
            parent.chmod(parent.stat().st_mode | 0o011)
    as_user("initdb", "-D", str(data), "-U", _USER, "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        server = Postgres(data, free.getsockname()[1])
    server.start()
    try:
        with psycopg.connect(server.url.replace(_NAME, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_NAME}")
        yield server
    finally:
        if (data / "postmaster.pid").exists():
            server.stop()


def wait_for(what: Callable[[], object], within_s: float, *, every_s: float = 0.1) -> None:
    """Wait until ``what()`` is true; fail where it is not within so many seconds."""
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, "waited too long"
        time.sleep(every_s)
