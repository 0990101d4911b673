"""``inspect``, ``transcode``, ``simulate`` and ``gate`` on files that others made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.errors import KpufitError

FIRST_WORDS = {
    "v1": bytes([1, 0, 0, 0]),
    "encrypted": (10003).to_bytes(4, "little"),
    "v6": b"LDMK\x06\0\0\0",
    "v7": b"LDMK\x07\0\0\0",
}


def kpufit(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "kmodels" / "golden"


def test_every_real_file_is_inspected(shared: Path) -> None:
    files = sorted((shared / "kmodels" / "real").glob("*.kmodel"))
    assert files
    for file in files:
        shown = kpufit("inspect", file, "--json")
        assert shown.exit_code == 0, file
        values = json.loads(shown.stdout)
        assert values["version"] == int(file.name[1])
        assert sum(values["bytes"].values()) == file.stat().st_size
        assert ("maixpy-minimum" in values["loads_on"]) == file.name.startswith("v3_")
        assert kpufit("inspect", file).exit_code == 0


@pytest.mark.parametrize("name", FIRST_WORDS)
def test_what_is_not_read_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / "other.kmodel"
    file.write_bytes(FIRST_WORDS[name] + bytes(64))
    shown = kpufit("inspect", file)
    assert shown.exit_code == 0
    assert name in shown.stdout


def test_a_classifier_is_carried_over_and_gives_the_reference_outputs(golden: Path, tmp_path: Path) -> None:
    folder = golden / "c1_mobilenet_gap_gemm"
    for version in ("v3", "v4"):
        made, answers = tmp_path / f"{version}.kmodel", tmp_path / f"{version}.npy"
        carried = kpufit(
            "transcode", folder / "model_v5.kmodel", "--to", version, "-o", made, "--head", folder / "model.onnx"
        )
        assert carried.exit_code == 0, carried.output
        assert kpufit("simulate", made, "-i", folder / "input.npy", "-o", answers).exit_code == 0
        expected = np.load(folder / "output_v3_rc5.npy")
        np.testing.assert_allclose(np.load(answers).reshape(expected.shape), expected, rtol=0, atol=1e-6)
        assert kpufit("gate", made, "--firmware", "maixpy-full").exit_code == 0


def test_the_gate_says_which_versions_a_firmware_loads(golden: Path) -> None:
    judged = kpufit("gate", golden / "n3_leaky_odd" / "model_v5.kmodel", "--firmware", "maixpy-full")
    assert judged.exit_code == 1
    assert "kmodel v5, but maixpy-full loads v3, v4" in judged.stdout
    assert "remedy 2" in judged.stdout


def test_several_models_are_judged_one_by_one_and_together(golden: Path) -> None:
    files = [golden / name / "model_v3.kmodel" for name in ("n1_conv3x3_maxpool", "n6_yolo_head")]
    judged = kpufit("gate", *files, "--firmware", "maixpy-minimum", "--json")
    assert judged.exit_code == 0, judged.output
    values = json.loads(judged.stdout)
    alone = [next(c for c in each["checks"] if c["name"] == "memory") for each in values["files"].values()]
    assert values["together"]["needed_bytes"] == sum(check["needed_bytes"] for check in alone)
    tight = kpufit("gate", *files, "--firmware", "maixpy-minimum", "--gc-heap", 4_170_000, "--camera", "vga", "--json")
    assert tight.exit_code == 1
    assert not json.loads(tight.stdout)["together"]["ok"]


def test_wrong_files_and_options_are_typed_errors(tmp_path: Path, golden: Path) -> None:
    torn = tmp_path / "torn.kmodel"
    torn.write_bytes((golden / "n1_conv3x3_maxpool" / "model_v4.kmodel").read_bytes()[:1000])
    for arguments in (
        ("inspect", torn),
        ("inspect", tmp_path / "nothing.kmodel"),
        ("gate", torn, "--firmware", "maixpy-full"),
        ("gate", golden / "n1_conv3x3_maxpool" / "model_v4.kmodel", "--firmware", "nothing"),
        ("gate", golden / "n1_conv3x3_maxpool" / "model_v4.kmodel", "--firmware", "canmv", "--camera", "huge"),
        ("simulate", torn, "-i", torn, "-o", tmp_path / "y.npy"),
    ):
        failed = kpufit(*arguments)
        assert isinstance(failed.exception, KpufitError), (arguments, failed.output)
    assert kpufit("transcode", torn, "--to", "v2", "-o", tmp_path / "x").exit_code == 2
    assert not (tmp_path / "y.npy").exists()
