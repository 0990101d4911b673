"""The images that the kmodel gets wrong and the float network got right, the clearest first."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.evaluation.metrics import Scores, predictions

SHOWN = 24
"""Images that are kept to be looked at."""
LARGEST_SIDE = 96
"""Pixels; larger images are made smaller, so that all of them are some hundred kilobytes at most."""


@dataclass(frozen=True)
class Mistakes:
    """What changed from the float network to the kmodel, on the same images.

    Attributes:
        newly_wrong: images that the float network got right, and the kmodel gets wrong.
        newly_right: the other way round.
        index: N of the newly wrong, those first that the kmodel is surest of: their places among the images.
        images: uint8 N×C×H×W, made smaller where they are large.
        actual: the class of each.
        answer: the kmodel's.
    """

    newly_wrong: int
    newly_right: int
    index: NDArray[np.int64]
    images: NDArray[np.uint8]
    actual: NDArray[np.int64]
    answer: NDArray[np.int64]

    def npz(self) -> bytes:
        """Return the arrays as a file; the same mistakes give the same bytes."""
        file = BytesIO()
        np.savez_compressed(file, index=self.index, images=self.images, actual=self.actual, answer=self.answer)
        return file.getvalue()


def mistakes(
    images: NDArray[np.uint8], labels: NDArray[np.int64], network: Scores, kmodel: Scores, limit: int = SHOWN
) -> Mistakes:
    """Return what the kmodel now gets wrong.

    Args:
        images: uint8 N×C×H×W.
        labels: their classes.
        network: N×K scores of the float network.
        kmodel: N×K scores of the kmodel, by which the mistakes are sorted: how far the wrong class is above the right.
        limit: how many images to keep.

    Raises:
        DataError: the scores are not one a class.
    """
    right_before, answers = predictions(network) == labels, predictions(kmodel)
    right_now = answers == labels
    wrong = np.flatnonzero(right_before & ~right_now)
    scores = kmodel.reshape(len(kmodel), -1).astype(np.float64)
    margins = scores[wrong, answers[wrong]] - scores[wrong, labels[wrong]]
    kept = wrong[np.argsort(-margins, kind="stable")][:limit]
    return Mistakes(
        newly_wrong=len(wrong),
        newly_right=int((right_now & ~right_before).sum()),
        index=kept,
        images=_small(images[kept]),
        actual=labels[kept],
        answer=answers[kept],
    )


def _small(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = images.shape[2:]
    if max(height, width) <= LARGEST_SIDE or len(images) == 0:
        return images
    shrink = LARGEST_SIDE / max(height, width)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    planes = images.reshape(-1, height, width)
    small = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)) for plane in planes]
    made: NDArray[np.uint8] = np.stack(small).reshape(*images.shape[:2], size[1], size[0])
    return made
