"""Damaged ONNX files give a typed error or a network: no other exception, no crash of C++, no hang, little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_seeds import SEEDS, model

from pipeline.network.read import load_onnx

HERE = Path(__file__).parent
SLOWEST_S = 10.0
PEAK_MIB = 1024


def check(count: int, seed: int, files: tuple[Path, ...] = (), target: str = "fuzz_onnx:load") -> None:
    command = [sys.executable, str(HERE / "fuzz_onnx.py"), str(count), str(seed), "--target", target, *map(str, files)]
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


CRASHES = {
    "weights of another rank": model(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="odd", auto_pad="SAME_LOWER")],
        {"w": np.ones((4, 3, 3, 3, 1), np.float32)},
    ),
    "weights of another rank, computed": model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["w"]),
            helper.make_node("Conv", ["x", "w"], ["y"], name="odd", auto_pad="SAME_UPPER"),
        ],
        {"shape": [4, 3, 3, 3, 1]},
    ),
    "a depth without a number": model(
        [helper.make_node("OneHot", ["i", "none", "v"], ["y"], name="odd")],
        {"i": [1], "none": np.zeros(0, np.int64), "v": np.float32([0, 1])},
    ),
    "a stride of 0": model(
        [helper.make_node("MaxPool", ["x"], ["y"], name="odd", kernel_shape=[2, 2], strides=[0, 1])], {}
    ),
    "a shape of a trillion dimensions": model(
        [
            helper.make_node("Tile", ["one", "times"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["w"]),
            helper.make_node("Add", ["x", "w"], ["y"], name="odd"),
        ],
        {"one": [1], "times": [1 << 40]},
    ),
    "an image of a trillion pixels": model(
        [helper.make_node("Relu", ["x"], ["y"], name="odd")], {}, image=("N", 3, 1 << 20, 1 << 20)
    ),
    "parts of size 0": model(
        [
            helper.make_node("SplitToSequence", ["x", "size"], ["s"], name="odd"),
            helper.make_node("SequenceAt", ["s", "size"], ["y"]),
        ],
        {"size": np.int64(0)},
    ),
    "a function that calls itself": model(
        [helper.make_node("Again", ["x"], ["y"], domain="local")],
        {},
        functions=[
            helper.make_function(
                "local",
                "Again",
                ["i"],
                ["o"],
                [helper.make_node("Again", ["i"], ["o"], domain="local")],
                [helper.make_opsetid("local", 1)],
            )
        ],
    ),
    "functions that double": model(
        [helper.make_node("f0", ["x"], ["y"], domain="local")],
        {},
        functions=[
            helper.make_function(
                "local",
                f"f{depth}",
                ["i"],
                ["o"],
                [
                    helper.make_node(f"f{depth + 1}" if depth < 39 else "Relu", [given], [made], domain=domain)
                    for given, made in (("i", "a"), ("a", "o"))
                    for domain in ("local" if depth < 39 else "",)
                ],
                [helper.make_opsetid("local", 1), helper.make_opsetid("", 13)],
            )
            for depth in range(40)
        ],
    ),
}
READ = """
import sys
from pathlib import Path
from pipeline.errors import NetworkError
from pipeline.network.read import load_onnx
for settings in ({}, {"weights": False}, {"weights": False, "normal": False}):
    try:
        load_onnx(Path(sys.argv[1]), **settings)
    except NetworkError as error:
        print(error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("name", CRASHES)
def test_what_crashed(tmp_path, name):
    path = tmp_path / "crash.onnx"
    path.write_bytes(CRASHES[name].SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    *errors, peak_kib = done.stdout.splitlines()
    assert sum(line.startswith(f"{path}: ") for line in errors) == 3
    assert sum(line.startswith("  remedy: ") for line in errors) == 3
    assert int(peak_kib) < PEAK_MIB << 10


def test_damaged_files():
    check(400, 0)


def test_damaged_files_are_checked():
    check(400, 5, target="fuzz_onnx:check")


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_many_damaged_files(seed):
    check(5000, seed)


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_many_damaged_files_are_checked():
    check(5000, 53, target="fuzz_onnx:check")


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_many_damaged_real_files(shared):
    check(1000, 3, tuple(sorted((shared / "models").glob("*.onnx"))))
