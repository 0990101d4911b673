"""The images that a network may learn from, be chosen by and be calibrated with; never test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.recipe import Data
from pipeline.training.data.parts import read_training
from pipeline.training.data.sets import Training
from pipeline.training.data.split import CALIBRATION, VALIDATION, hold_out, pick


def load_training(data: Data, seed: int, root: Path) -> Training:
    """Return the training and validation images of a recipe's data, split by ``seed``, each class in proportion.

    Args:
        data: the recipe's section.
        seed: the recipe's.
        root: the project's folder.

    Raises:
        DataError: the data is missing (remedy: ``kpufit data NAME``), torn, unlike the recipe, or too small.
    """
    everything = read_training(data, seed, root)
    kept, held = hold_out(everything.labels, data.validation, seed, VALIDATION, what="validation")
    return Training(everything.take(kept), everything.take(held))


def load_calibration(data: Data, seed: int, root: Path, count: int) -> NDArray[np.uint8]:
    """Return ``count`` training images (uint8 N×C×H×W), each class in proportion.

    Raises:
        DataError: as `load_training`, or there are fewer training images than ``count``.
    """
    return calibration_images(load_training(data, seed, root), seed, count)


def calibration_images(training: Training, seed: int, count: int) -> NDArray[np.uint8]:
    """Return ``count`` of the training images already at hand; the same as `load_calibration`. Raises DataError."""
    available = len(training.train)
    if count > available:
        raise DataError(
            f"{count} calibration images asked for, but only {available} training images are there",
            where="quantise.calibration.images",
            remedy=f"ask for at most {available}",
        )
    return training.train.images[pick(training.train.labels, count, seed, CALIBRATION)]
