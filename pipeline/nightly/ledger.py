"""``nightly/ledger.jsonl``: one line a night and recipe, only ever added to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import StorageError
from pipeline.files import write_bytes

Verdict = Literal["new", "better", "same", "worse", "rejected", "failed", "timed out"]
"""``new``: accepted by the gate, with nothing yet to be compared with."""


class Change(BaseModel):
    """One figure, compared.

    Attributes:
        figure: accuracy, kmodel bytes, heap bytes or latency.
        before: its value in the baseline.
        now: its value.
        tolerance: the largest difference that counts as none, in the figure's own unit.
        verdict: what the difference means.
        text: all of it for people.
    """

    model_config = ConfigDict(frozen=True)

    figure: str
    before: float
    now: float
    tolerance: float
    verdict: Literal["better", "same", "worse"]
    text: str


class Entry(BaseModel):
    """One line of the ledger. Keys of later versions are let pass.

    Attributes:
        night: when the night began, UTC: the same on all its lines.
        time: when this recipe was done.
        recipe: its name.
        commit: git's, with ``-dirty`` where files had changed since; None outside git.
        versions: of kpufit and its tools.
        tried: tools that ``--with`` exchanged; such a line is never a baseline.
        verdict: what came of it.
        baseline: whether later nights compare with this one.
        against: ``time`` of the baseline that this was compared with.
        reasons: why it is what it is, for people.
        changes: figure by figure.
        metrics: accuracy as a fraction, sizes in bytes, latency in milliseconds; empty where there is no result.
        recomputed: stages that ran; empty when everything was known already.
        seconds: how long it took.
        kmodel: SHA-256 of the file.
        test_set: names the test images.
        wrong: test images that the kmodel got wrong, packed.
    """

    model_config = ConfigDict(frozen=True)

    night: str
    time: str
    recipe: str
    commit: str | None = None
    versions: dict[str, str] = {}
    tried: dict[str, str] = {}
    verdict: Verdict
    baseline: bool = False
    against: str | None = None
    reasons: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    metrics: dict[str, int | float] = {}
    recomputed: tuple[str, ...] = ()
    seconds: float = 0.0
    kmodel: str = ""
    test_set: str = ""
    wrong: str | None = None


@dataclass(frozen=True)
class Ledger:
    """What is known of earlier nights.

    Attributes:
        entries: oldest first.
        notes: lines that could not be read, for people.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]

    def of(self, recipe: str) -> tuple[Entry, ...]:
        """The recipe's lines made with the project's own tools."""
        return tuple(entry for entry in self.entries if entry.recipe == recipe and not entry.tried)

    def baseline(self, recipe: str) -> Entry | None:
        """The line to compare with: the last that was taken as baseline."""
        return next((entry for entry in reversed(self.of(recipe)) if entry.baseline), None)


def read_ledger(path: Path) -> Ledger:
    """Return the lines of the ledger; none where there is no file. A torn or foreign line is left out and noted.

    Raises:
        StorageError: the file is there, but cannot be read.
    """
    entries, notes = [], []
    for number, line in enumerate(_content(path).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            notes.append(f"{path.name}: line {number} is torn or not of this ledger, and was left out")
    return Ledger(tuple(entries), tuple(notes))


def append(path: Path, entries: Sequence[Entry]) -> None:
    """Add lines: the whole file is written beside the old one and moved into its place, so that no kill tears it.

    Only the holder of the nightly's lock may call this. A torn end that is there already stays a line of its own.

    Raises:
        StorageError: the file cannot be read or written.
    """
    before = _content(path)
    if before and not before.endswith(b"\n"):
        before += b"\n"
    lines = "".join(f"{entry.model_dump_json(exclude_defaults=True)}\n" for entry in entries)
    write_bytes(path, before + lines.encode())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StorageError(
            f"cannot be read ({error.strerror})", where=str(path), remedy="check who may read it"
        ) from error
