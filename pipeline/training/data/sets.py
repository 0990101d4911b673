"""Labelled images in memory, and the checks that every source of them must pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError


@dataclass(frozen=True)
class DataSet:
    """Labelled images.

    Attributes:
        images: uint8 N×C×H×W.
        labels: int64 N, each the index of a class.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> DataSet:
        """Return the images and labels of ``rows`` (int64, indices), in that order."""
        return DataSet(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Training:
    """What a stage may learn and decide from: disjoint training and validation images."""

    train: DataSet
    validation: DataSet


def checked(found: DataSet, classes: int, *, where: str) -> DataSet:
    """Return ``found`` if it is whole: as many labels as images, at least one, each label below ``classes``.

    Raises:
        DataError: names ``where`` and what is wrong.
    """
    images, labels = found.images, found.labels
    if len(images) != len(labels):
        raise DataError(f"{len(images)} images but {len(labels)} labels", where=where, remedy="fetch or make it again")
    if not len(images):
        raise DataError("no images", where=where, remedy="give at least one image a class")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"labels run from {low} to {high}, but the recipe names {classes} classes",
            where=where,
            remedy=f"labels are 0 to {classes - 1}, in the order of data.labels",
        )
    return found
