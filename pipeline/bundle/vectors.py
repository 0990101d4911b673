"""Test vectors: images that a board can be given without loss, and what the kmodel answers, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kmodel.model import Kmodel
from pipeline.kpu.simulate import simulate
from pipeline.training.data.sets import DataSet

MOST_CLASSES = 12
"""Classes of which an image is taken: enough to see every output move, and a file that is read in seconds."""

TOLERANCE = 1e-5
"""By how much a float of the board may differ, times 1 or the value, whichever is more.

The KPU's codes are equal; the classifier's head is float32 on the CPU, where 4.8e-7 were seen (the released loader
libraries in an emulated K210). A code that is off by one moves a logit by far more.
"""

_RGB565_BITS = (5, 6, 5)
_NOISE_SEED = 210


@dataclass(frozen=True, eq=False)
class Vectors:
    """Test vectors.

    Attributes:
        inputs: uint8 N×C×H×W.
        outputs: what the kmodel's output is for each: N × its shape, as `kpufit simulate` writes it.
    """

    inputs: NDArray[np.uint8]
    outputs: NDArray[np.generic]


def make_vectors(kmodel: Kmodel, image: tuple[int, int, int], validation: DataSet) -> Vectors:
    """Return vectors of a kmodel with one output.

    They are black, white, a ramp, noise, and the first validation image of each of the first `MOST_CLASSES` classes;
    images of three channels in colours that survive the board's RGB565.

    Args:
        kmodel: as read.
        image: channels, height, width.
        validation: held-out training images; test images are for `evaluate` alone.
    """
    _, height, width = image
    ramp = np.broadcast_to(np.linspace(0, 255, height * width).reshape(height, width), image)
    noise = (np.random.PCG64(_NOISE_SEED).random_raw(ramp.size) % 256).reshape(image)
    made = np.stack([np.zeros(image), np.full(image, 255), ramp, noise]).astype(np.uint8)
    _, firsts = np.unique(validation.labels, return_index=True)
    inputs = for_the_board(np.concatenate([made, validation.images[firsts[:MOST_CLASSES]]]))
    return Vectors(inputs, simulate(kmodel, inputs)[0])


def for_the_board(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images N×C×H×W as a board's image holds them without loss.

    Grey ones as they are; those of three channels in the nearest colours that RGB565 holds.
    """
    if images.shape[1] != len(_RGB565_BITS):
        return images
    planes = []
    for plane, bits in zip(images.transpose(1, 0, 2, 3), _RGB565_BITS, strict=True):
        kept = _surviving_levels(bits)
        nearest = np.abs(np.arange(256)[:, None] - kept[None, :]).argmin(axis=1)
        planes.append(kept[nearest].astype(np.uint8)[plane])
    return np.stack(planes, axis=1)


def _surviving_levels(bits: int) -> NDArray[np.int64]:
    """Return the levels 0…255 that a channel of ``bits`` bits holds, whichever way a firmware widens it.

    OpenMV repeats the highest bits (COLOR_RGB565_TO_R8), MaixPy's tables round ``v·255 / (2^bits − 1)`` (rb528_table).
    """
    codes = np.arange(1 << bits)
    repeated = (codes << (8 - bits)) | (codes >> (2 * bits - 8))
    rounded = np.floor(codes * 255 / ((1 << bits) - 1) + 0.5).astype(np.int64)
    kept: NDArray[np.int64] = repeated[repeated == rounded]
    return kept
