"""The prediction against what nncase makes of whole networks, by the benchmark that lists them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SMALL = (
    "fragments-1.0-0.5-1.3-MiB",
    "residuals-16x3-clip-at-48",
    "ssd-x0.25-maps-at-160",
    "unet-8-at-64",
    "zoo-mobilenet_v1-w8-at-128",
    "zoo-resnet8-w8-at-32",
)

KEYS = {
    "network", "compiles", "kmodel_bytes", "kmodel_bytes_predicted", "heap_bytes", "heap_bytes_predicted", "kpu_bytes",
    "kpu_bytes_predicted", "check_s", "compile_s",
}  # fmt: skip


def benchmark(*options: str, timeout: float) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run the benchmark; return how it ended and its rows. Exit code 1: a criterion fails."""
    command = [sys.executable, "-m", "benchmarks.prediction", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.stdout, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["benchmark"] == "prediction"
    return done, printed["results"]


@pytest.mark.nncase
def test_small_networks_are_predicted_as_nncase_makes_them() -> None:
    done, rows = benchmark("--only", *SMALL, timeout=240)
    assert [row["network"] for row in rows] == list(SMALL)
    assert {row["network"] for row in rows if not row["compiles"]} == {"fragments-1.0-0.5-1.3-MiB"}
    for row in rows:
        assert set(row) == KEYS
        for key in ("kmodel_bytes", "heap_bytes", "kpu_bytes"):
            assert (row[key] is None) == (not row["compiles"])
            assert row[key] in (row[f"{key}_predicted"], None), row
    assert done.returncode == 0, done.stdout


@pytest.mark.bench
@pytest.mark.nncase
@pytest.mark.timeout(7200)  # an hour where nothing is kept; seconds where all is
def test_whole_networks_are_predicted_as_nncase_makes_them() -> None:
    done, rows = benchmark(timeout=7000)
    made = [row for row in rows if row["compiles"]]
    assert len(made) >= 25
    for row in made:
        assert row["kmodel_bytes_predicted"] == pytest.approx(row["kmodel_bytes"], rel=0.01), row
        assert row["heap_bytes_predicted"] == pytest.approx(row["heap_bytes"], rel=0.05), row
        assert row["kpu_bytes_predicted"] == row["kpu_bytes"], row
    assert done.returncode == 0, done.stderr
