"""The error of layers against what the file itself says of its codes, and watching a program without changing it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kpu.prediction_networks import Builder
from tflite_files import WEIGHTS, tflite

from pipeline.compiler.compile import compile_network
from pipeline.compiler.environment import find_nncase
from pipeline.evaluation.agreement import compare
from pipeline.evaluation.layer_error import LayerError, convolution_names, layer_errors
from pipeline.evaluation.tflite import FloatNetwork
from pipeline.evaluation.watch import watched
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kmodel.steps import Dequantise
from pipeline.kmodel.transcode import transcode
from pipeline.kpu.simulate import simulate
from pipeline.network.contract import InputContract

ROOT = Path(__file__).parents[2]
CONTRACT = InputContract((3, 16, 16), (0.5,) * 3, (0.25,) * 3)
NETWORK = tflite(WEIGHTS)


def pictures(count: int) -> np.ndarray:
    """Smooth ones: noise would say nothing about ranges."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 4, axis=2), 4, axis=3)


@pytest.fixture(scope="module")
def kmodel() -> Kmodel:
    compiled = compile_network(NETWORK, "tflite", pictures(24), CONTRACT, nncase_python=find_nncase(ROOT))
    return read(compiled.kmodel)


@pytest.fixture(scope="module")
def error(kmodel: Kmodel) -> LayerError:
    (found,) = layer_errors(kmodel, NETWORK, pictures(21), CONTRACT)
    return found


@pytest.mark.nncase
def test_what_codes_are_worth_is_what_the_file_says(kmodel: Kmodel, error: LayerError) -> None:
    (meaning,) = [step for step in kmodel.steps if isinstance(step, Dequantise)]
    assert error.scale == pytest.approx(meaning.scale, rel=0.01)
    assert error.zero_point == round(-meaning.bias / meaning.scale)
    assert error.shape == (4, 16, 16)


@pytest.mark.nncase
def test_the_error_is_that_of_the_files_own_output(kmodel: Kmodel, error: LayerError) -> None:
    images = pictures(21)
    answers = FloatNetwork(NETWORK, 21).answers(CONTRACT.normalise(images)).transpose(0, 3, 1, 2)
    own = compare(answers, simulate(kmodel, images)[0])
    assert error.snr_db == pytest.approx(own.snr_db, abs=0.5)
    assert error.cosine == pytest.approx(own.cosine, abs=1e-4)
    assert error.snr_db > 30


@pytest.mark.nncase
@pytest.mark.parametrize("version", [3, 4])
def test_all_versions_have_the_same_error(kmodel: Kmodel, error: LayerError, version: int) -> None:
    (carried,) = layer_errors(transcode(kmodel, version), NETWORK, pictures(21), CONTRACT)
    assert carried == error


@pytest.mark.nncase
def test_another_network_is_far_off(kmodel: Kmodel, error: LayerError) -> None:
    other = np.random.default_rng(5).normal(0, 0.2, WEIGHTS.shape).astype(np.float32)
    (found,) = layer_errors(kmodel, tflite(other), pictures(21), CONTRACT)
    assert found.snr_db < error.snr_db - 20


@pytest.mark.nncase
def test_a_map_of_no_shape_of_the_network_is_left_out(kmodel: Kmodel) -> None:
    fewer = tflite(WEIGHTS[:3])
    assert layer_errors(kmodel, fewer, pictures(8), CONTRACT) == ()


@pytest.mark.nncase
def test_a_watched_program_answers_as_before(kmodel: Kmodel) -> None:
    images = pictures(8)
    codes, *answers = simulate(watched(kmodel, [0]), images)
    np.testing.assert_array_equal(answers[0], simulate(kmodel, images)[0])
    assert codes.dtype == np.uint8
    assert codes.shape == (8, 4, 16, 16)
    assert len(np.unique(codes)) > 100


@pytest.mark.nncase
def test_a_convolution_has_the_name_of_its_layer_or_a_number(kmodel: Kmodel) -> None:
    assert convolution_names(kmodel, Builder(3, 16, 16).conv(4, act="").model()) == ("conv0",)
    assert convolution_names(kmodel, Builder(3, 16, 16).conv(5, act="").model()) == ("convolution 1",)
