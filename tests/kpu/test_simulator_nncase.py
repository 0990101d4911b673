"""The simulator against nncase 1.9's own, on networks compiled for the purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from simulator_networks import OPERATORS, Answer, ask_nncase, network_with, random_network

from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kpu.simulate import simulate

pytestmark = pytest.mark.nncase

FEW = (0, 5, 13, 14, 21, 29)
"""Of the thirty: more than 512 channels, stride 2, both pools, 130 pixels wide, odd sizes, falling activations."""


def assert_equal_in_all_versions(answer: Answer) -> None:
    kmodel = read(answer.kmodel)
    assert not kmodel.cpu_steps
    assert len(np.unique(answer.outputs)) > 8
    v5 = simulate(kmodel, answer.images)[0]
    assert v5.dtype == np.uint8
    np.testing.assert_array_equal(v5, answer.outputs)
    for version in (4, 3):
        np.testing.assert_array_equal(simulate(transcode(kmodel, version), answer.images)[0].reshape(v5.shape), v5)


def test_a_few_random_networks_agree_bit_for_bit(tmp_path: Path) -> None:
    for answer in ask_nncase(map(random_network, FEW), tmp_path, "uint8"):
        assert_equal_in_all_versions(answer)


@pytest.mark.bench
def test_thirty_random_networks_agree_bit_for_bit(tmp_path: Path) -> None:
    answers = ask_nncase(map(random_network, range(30)), tmp_path, "uint8", images=3)
    convolutions = [conv.registers for answer in answers for conv in read(answer.kmodel).convolutions]
    assert max(registers.out_channels for registers in convolutions) > 900
    assert len({registers.pool for registers in convolutions}) >= 6
    assert {registers.in_width > border for registers in convolutions for border in (16, 32, 64)} == {True, False}
    for answer in answers:
        assert_equal_in_all_versions(answer)


def test_operators_of_the_cpu_agree(tmp_path: Path) -> None:
    for name, answer in zip(OPERATORS, ask_nncase(map(network_with, OPERATORS), tmp_path, "float32"), strict=True):
        kmodel = read(answer.kmodel)
        outputs = simulate(kmodel, answer.images)[0]
        assert kmodel.cpu_steps, name
        assert answer.outputs.std() > 0.01, name
        if name in ("softmax", "matmul"):  # expf and the order of sums are the compiler's
            np.testing.assert_allclose(outputs, answer.outputs, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(outputs, answer.outputs, err_msg=name)
