"""Damaged kmodels give a typed error or a model: no other exception, no hang, little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SLOWEST_S = 1.0
PEAK_MIB = 200


def fuzz(count: int, seed: int, files: list[Path]) -> dict[str, object]:
    command = [sys.executable, str(HERE / "fuzz_kmodel.py"), str(count), str(seed), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parents[1], timeout=600)
    report: dict[str, object] = json.loads(done.stdout)
    return report


def check(report: dict[str, object], count: int) -> None:
    assert report["unexpected"] == []
    assert report["slowest_s"] < SLOWEST_S  # type: ignore[operator]
    assert report["peak_mib"] < PEAK_MIB  # type: ignore[operator]
    results = report["results"]
    assert isinstance(results, dict)
    assert results["read ok"] + results["read refused"] == count
    assert min(results["read ok"], results["read refused"]) > count // 20


def test_damaged_committed_files() -> None:
    files = sorted((HERE / "data").glob("*.kmodel"))
    check(fuzz(1000, 0, files), 1000)


def test_damaged_real_files(shared: Path) -> None:
    files = sorted((shared / "kmodels" / "real").glob("*.kmodel"))
    check(fuzz(1000, 1, files), 1000)


@pytest.mark.bench
def test_many_damaged_files(shared: Path) -> None:
    files = sorted((shared / "kmodels").rglob("*.kmodel"))
    check(fuzz(20_000, 2, files), 20_000)
