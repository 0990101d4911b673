"""The simulator against golden outputs: nncase 1.9's Simulator on v5, other runtimes on v4 and v3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.kmodel.read import read
from pipeline.kpu.arithmetic import NNCASE_0_1, NNCASE_1_9, Variant
from pipeline.kpu.simulate import prepare, run_program, simulate

CHAINS = (
    "n1_conv3x3_maxpool", "n2_mobilenet_s2", "n3_leaky_odd", "n4_relu6_meanpool", "n5_wide320", "n6_yolo_head",
)  # fmt: skip
CLASSIFIERS = ("c1_mobilenet_gap_gemm", "c2_conv_gap_gemm")


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    folder = shared / "kmodels/golden"
    if not folder.is_dir():
        pytest.skip(f"golden kmodels absent ({folder})")
    return folder


def run(folder: Path, model: str, variant: Variant = NNCASE_1_9, device: str | None = None) -> np.ndarray:
    kmodel = read((folder / f"{model}.kmodel").read_bytes())
    (output,) = simulate(kmodel, np.load(folder / "input.npy"), variant=variant, device=device)
    return output


@pytest.mark.parametrize("name", CHAINS + CLASSIFIERS)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_v5_equals_nncase(golden: Path, name: str, device: str | None) -> None:
    output = run(golden / name, "model_v5", device=device)
    expected = np.load(golden / name / "output_v5_sim.npy")
    assert output.dtype == expected.dtype
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("name", CHAINS + CLASSIFIERS)
def test_v4_equals_its_own_runtime(golden: Path, name: str) -> None:
    expected = np.load(golden / name / "output_v4_ncc02fix.npy")
    np.testing.assert_array_equal(run(golden / name, "model_v4").reshape(expected.shape), expected)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("variant", [NNCASE_1_9, NNCASE_0_1])
def test_v3_equals_its_own_runtime(golden: Path, name: str, variant: Variant) -> None:
    expected = np.load(golden / name / "output_v3_rc5.npy")  # its shifts are too large for the variants to differ
    np.testing.assert_array_equal(run(golden / name, "model_v3", variant).reshape(expected.shape), expected)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("model", ["v3_rc5", "v4_floathead_ncc02fix"])
def test_float_heads_agree_with_their_runtimes(golden: Path, name: str, model: str) -> None:
    expected = np.load(golden / name / f"output_{model}.npy")
    seen = run(golden / name, "model_v3" if model == "v3_rc5" else "model_v4_floathead")
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_threads_and_batches_do_not_matter(golden: Path) -> None:
    folder = golden / "n2_mobilenet_s2"
    program = prepare(read((folder / "model_v5.kmodel").read_bytes()))
    images, expected = np.load(folder / "input.npy"), np.load(folder / "output_v5_sim.npy")
    for threads, count in ((1, 8), (2, 7), (3, 8), (8, 1), (2, 0)):
        (output,) = run_program(program, images[:count], threads=threads)
        np.testing.assert_array_equal(output, expected[:count])


@pytest.mark.parametrize("model", ["v3_facedetect", "v3_mnist", "v4_slim320", "v4_uint8_mnist", "v5_yolox_nano_224"])
def test_others_kmodels_run_alike_in_both_ways(shared: Path, model: str) -> None:
    path = shared / f"kmodels/real/{model}.kmodel"
    if not path.is_file():
        pytest.skip(f"absent ({path})")
    kmodel = read(path.read_bytes())
    images = np.random.default_rng(0).integers(0, 256, (2, *kmodel.inputs[0].shape[1:]), np.uint8)
    fast, plain = simulate(kmodel, images), simulate(kmodel, images, device="cpu")
    assert len(fast) == len(kmodel.outputs)
    for seen, expected in zip(fast, plain, strict=True):
        assert np.isfinite(seen).all()
        assert seen.std() > 0
        np.testing.assert_array_equal(seen, expected)
