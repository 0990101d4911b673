"""Damaged ONNX files give a typed error or a network: no other exception, no crash of C++, no hang, little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_seeds import SEEDS

from pipeline.network.read import load_onnx

HERE = Path(__file__).parent
SLOWEST_S = 10.0
PEAK_MIB = 1024


def check(count: int, seed: int, files: tuple[Path, ...] = ()) -> None:
    command = [sys.executable, str(HERE / "fuzz_onnx.py"), str(count), str(seed), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3000)
    report = json.loads(done.stdout)
    assert report["unexpected"] == []
    assert report["slowest_s"] < SLOWEST_S
    assert report["peak_mib"] < PEAK_MIB
    assert report["results"]["read"] + report["results"]["refused"] == count
    assert min(report["results"].values()) > count // 10


@pytest.mark.parametrize("name", SEEDS)
def test_undamaged(tmp_path, name):
    path = tmp_path / "whole.onnx"
    path.write_bytes(SEEDS[name]().SerializeToString())
    load_onnx(path)


def test_damaged_files():
    check(400, 0)


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_many_damaged_files(seed):
    check(5000, seed)


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_many_damaged_real_files(shared):
    check(1000, 3, tuple(sorted((shared / "models").glob("*.onnx"))))
