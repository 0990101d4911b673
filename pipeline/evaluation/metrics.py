"""How good a classifier's answers are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

#: Scores of classes: logits, or the codes of a kmodel whose output is uint8.
Scores = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8] | NDArray[np.int64]


@dataclass(frozen=True)
class Quality:
    """What the answers to labelled images are worth.

    Attributes:
        accuracy: share of right answers.
        per_class: the same for the images of each class; NaN for a class without images.
        confusion: images by actual class (row) and predicted class (column), int64 K×K.
    """

    accuracy: float
    per_class: NDArray[np.float64]
    confusion: NDArray[np.int64]


def judge(scores: Scores, labels: NDArray[np.int64]) -> Quality:
    """Return the quality of a classifier's scores.

    Args:
        scores: N×K, or N×K×1×1 as a kmodel may write it; the highest wins, of equal ones the first.
        labels: N classes below K.

    Raises:
        DataError: the shapes do not go together, a label is not below K, or a score is NaN.
    """
    predicted, classes = predictions(scores), scores.shape[1]
    if labels.shape != predicted.shape or labels.size == 0:
        raise DataError(f"{len(predicted)} answers cannot be compared with {labels.size} labels")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"the data has labels {labels.min()} to {labels.max()}, but the network tells {classes} classes apart",
            remedy="give the network as many outputs as the recipe has labels",
        )
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    right, images = np.diagonal(confusion), confusion.sum(axis=1)
    per_class = np.divide(right, images, out=np.full(classes, np.nan), where=images > 0)
    return Quality(float(right.sum() / len(labels)), per_class, confusion)


def predictions(scores: Scores) -> NDArray[np.int64]:
    """Return the class of the highest score of each image, the first of equal ones.

    Raises:
        DataError: the scores are not N×K (×1×1), or one is NaN.
    """
    if scores.ndim < 2 or scores.size != scores.shape[0] * scores.shape[1]:
        raise DataError(f"scores are {list(scores.shape)}, not one a class", remedy="give a classifier")
    if np.isnan(scores).any():
        raise DataError("the network answers NaN", remedy="look at its weights and at the normalisation of its input")
    best: NDArray[np.int64] = scores.reshape(scores.shape[:2]).argmax(axis=1)
    return best
