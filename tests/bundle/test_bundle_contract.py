"""The contract of a kmodel, and the kmodels that a bundle's programs could not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.bundle.contract import io_contract, quantised_map
from pipeline.errors import KmodelError
from pipeline.firmware.profile import load_profile
from pipeline.kmodel.moving import Dequantise
from pipeline.kmodel.read import read
from pipeline.network.contract import InputContract

ROOT = Path(__file__).parents[2]

MAIXPY = load_profile("maixpy-full", ROOT)


def contract_of(file: Path, labels: int, channels: int = 3) -> dict:
    kmodel = read(file.read_bytes())
    image = (channels, *kmodel.inputs[0].shape[-2:])
    given = InputContract(image, (0.5,) * channels, (0.25,) * channels)
    return io_contract(kmodel, given, [str(label) for label in range(labels)], MAIXPY)


@pytest.fixture
def classifier(shared: Path) -> Path:
    return shared / "kmodels" / "golden" / "c1_mobilenet_gap_gemm"


def test_input_and_output_are_told(classifier: Path) -> None:
    classes = read((classifier / "model_v4.kmodel").read_bytes()).outputs[0].elements
    told = contract_of(classifier / "model_v4.kmodel", classes)
    assert told["input"]["real_range"] == [-2.0, 2.0]
    assert told["input"]["channel_order"].startswith("RGB")
    assert told["output"]["labels"] == [str(label) for label in range(classes)]
    assert told["calls"] == [f"kpu.set_outputs(task, 0, 1, 1, {classes})"]


@pytest.mark.parametrize("name", ["n1_conv3x3_maxpool", "c1_mobilenet_gap_gemm", "c2_conv_gap_gemm"])
def test_codes_before_the_head_mean_what_the_kmodel_makes_of_them(shared: Path, name: str) -> None:
    kmodel = read((shared / "kmodels" / "golden" / name / "model_v3.kmodel").read_bytes())
    told = quantised_map(kmodel)
    steps = [step for step in kmodel.steps if isinstance(step, Dequantise)]
    assert (told is None) == (not steps)
    if told is not None:
        means = [(code - told["zero_point"]) * told["scale"] for code in (0, 255)]
        assert means == pytest.approx([steps[-1].bias, 255 * steps[-1].scale + steps[-1].bias], abs=1e-5)


def test_what_the_programs_could_not_run_is_refused(classifier: Path, shared: Path) -> None:
    file = classifier / "model_v4.kmodel"
    classes = read(file.read_bytes()).outputs[0].elements
    with pytest.raises(KmodelError, match="labels"):
        contract_of(file, classes + 1)
    with pytest.raises(KmodelError, match="grey or RGB"):
        contract_of(file, classes, channels=4)
    with pytest.raises(KmodelError, match="one float output"):
        contract_of(shared / "kmodels" / "golden" / "n1_conv3x3_maxpool" / "model_v4.kmodel", 1)
