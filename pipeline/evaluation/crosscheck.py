"""Whether the shipped kmodel computes what nncase's own file does, and our simulator what nncase's does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import KmodelError
from pipeline.evaluation.watch import watched
from pipeline.kmodel.model import Kmodel
from pipeline.kpu.simulate import simulate

#: Float operators of the CPU may be summed in another order; a code of the KPU differs by far more than this.
FLOAT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class CrossCheck:
    """What a sample of images showed.

    Attributes:
        images: how many.
        largest_difference: of our outputs of the v5 from those of nncase's Simulator.
        compared_codes: KPU codes compared, at the last convolution that the shipped file shares with the v5.
        differing_codes: how many of them differ.
    """

    images: int
    largest_difference: float
    compared_codes: int
    differing_codes: int


def cross_check(
    shipped: Kmodel, v5: Kmodel, images: NDArray[np.uint8], nncase_outputs: NDArray[np.generic], *, where: str = ""
) -> CrossCheck:
    """Compare the shipped kmodel with nncase's v5, and our simulator with nncase's.

    Args:
        shipped: the file that goes onto the board.
        v5: the file that nncase wrote.
        images: uint8 N×C×H×W.
        nncase_outputs: of the v5 for these images, by nncase's Simulator.
        where: the shipped file's name, for messages.

    Raises:
        KmodelError: they do not agree; nothing that was measured on the file can then be trusted.
    """
    ours = simulate(v5, images)[0].reshape(len(images), -1).astype(np.float64)
    theirs = nncase_outputs.reshape(len(images), -1).astype(np.float64)
    largest = float(np.abs(ours - theirs).max())
    last = len(shipped.convolutions) - 1
    codes, expected = _codes(shipped, last, images), _codes(v5, last, images)
    differing = int((codes != expected).sum()) if codes.shape == expected.shape else expected.size
    checked = CrossCheck(len(images), largest, expected.size, differing)
    if largest > FLOAT_TOLERANCE or differing:
        raise KmodelError(
            f"the simulators disagree: outputs by up to {largest:g}, {differing} of {expected.size} codes differ",
            where=where,
            remedy="report this with the network: the accuracy of this file cannot be trusted",
        )
    return checked


def _codes(kmodel: Kmodel, convolution: int, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The KPU's codes behind a convolution."""
    codes: NDArray[np.uint8] = simulate(watched(kmodel, [convolution]), images)[0].astype(np.uint8, copy=False)
    return codes
