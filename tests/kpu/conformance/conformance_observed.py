"""The observations of all cases together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conformance_cases import CASES
from conformance_probe import Observation, load, observe, save
from filelock import FileLock


@dataclass(frozen=True)
class Observed:
    """What nncase did with every case, by name, and the folder with the networks, kmodels and outputs."""

    cases: dict[str, Observation]
    folder: Path

    def __getitem__(self, name: str) -> Observation:
        return self.cases[name]


def observe_once(root: Path) -> Observed:
    """Observe every case, or read what another process has left in ``root``."""
    folder, result = root / "conformance", root / "conformance.json"
    with FileLock(root / "conformance.lock"):
        if not result.exists():
            save(observe({name: case.build() for name, case in CASES.items()}, folder), result)
    return Observed(load(result), folder)
