"""Test vectors: colours that a board's image holds, and the kmodel's own answers on it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from bundle_board import WIDENINGS
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bundle.vectors import MOST_CLASSES, for_the_board, make_vectors
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import simulate
from pipeline.training.data.sets import DataSet


@pytest.mark.parametrize("widening", WIDENINGS)
@given(st.integers(0, 2**32 - 1))
def test_colours_survive_rgb565_whichever_way_it_is_widened(widening: str, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    kept = for_the_board(images)
    assert np.abs(kept.astype(int) - images).max() <= 12  # half of the widest gap between levels that survive
    for plane, bits in enumerate((5, 6, 5)):
        codes = (kept[:, plane] >> (8 - bits)).astype(np.int64)
        np.testing.assert_array_equal(WIDENINGS[widening](codes, bits), kept[:, plane])
    np.testing.assert_array_equal(for_the_board(kept), kept)


def test_black_and_white_and_grey_images_are_kept() -> None:
    ends = np.stack([np.zeros((3, 2, 2)), np.full((3, 2, 2), 255)]).astype(np.uint8)
    np.testing.assert_array_equal(for_the_board(ends), ends)
    grey = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(for_the_board(grey), grey)


def test_vectors_of_a_colour_network_are_its_own_answers(shared: Path) -> None:
    file = shared / "kmodels" / "golden" / "c1_mobilenet_gap_gemm" / "model_v3.kmodel"
    kmodel = read(file.read_bytes())
    image = kmodel.inputs[0].shape[-3:]
    random = np.random.default_rng(3)
    validation = DataSet(random.integers(0, 256, (40, *image)).astype(np.uint8), np.arange(40) % 20)
    vectors = make_vectors(kmodel, image, validation)
    assert vectors.inputs.shape == (4 + MOST_CLASSES, *image)
    np.testing.assert_array_equal(for_the_board(vectors.inputs), vectors.inputs)
    np.testing.assert_array_equal(simulate(kmodel, vectors.inputs)[0], vectors.outputs)
    again = make_vectors(kmodel, image, validation)
    assert again.inputs.tobytes() == vectors.inputs.tobytes()
    assert struct.unpack("<f", vectors.outputs.astype("<f4").tobytes()[:4])[0] == vectors.outputs.flat[0]
