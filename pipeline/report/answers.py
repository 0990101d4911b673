"""How the kmodel answers: the confusion matrix, and the images that it newly gets wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pipeline.report.results import Picture, RunResults

MOST_CLASSES = 40
"""Classes up to which a matrix can be read; beyond, its most frequent mistakes are listed."""
_LISTED = 30
SMALL = 40
"""Pixels of a side up to which every single one is shown as it is."""
_QUALITY = 85
"""Of larger images, in WebP's own scale: a fifth of the bytes, and no difference that one would see."""


@dataclass(frozen=True)
class Confusion:
    """Images by actual class (rows) and predicted class (columns), with the shade of each cell (0 to 1)."""

    labels: tuple[str, ...]
    rows: tuple[tuple[tuple[int, float], ...], ...]

    @property
    def large(self) -> bool:
        """Whether there are too many classes to show it whole."""
        return len(self.labels) > MOST_CLASSES

    @property
    def frequent(self) -> tuple[tuple[str, str, int, float], ...]:
        """The most frequent mistakes: actual class, answer, images, and their share of the class's."""
        cells = [
            (self.labels[actual], self.labels[answer], images, share)
            for actual, row in enumerate(self.rows)
            for answer, (images, share) in enumerate(row)
            if actual != answer and images
        ]
        return tuple(sorted(cells, key=lambda cell: -cell[2])[:_LISTED])


@dataclass(frozen=True)
class Mistake:
    """An image that the kmodel gets wrong and the float network got right.

    Attributes:
        source: the image as a ``data:`` address.
        width, height: of it, in pixels.
        small: whether its pixels are to be seen as squares.
        number: its place among the test images, from 0.
        actual, answer: names of its class and of what the kmodel took it for.
    """

    source: str
    width: int
    height: int
    small: bool
    number: int
    actual: str
    answer: str


def confusion(results: RunResults) -> Confusion | None:
    """Return the confusion matrix that ``evaluate`` reported, where it is one."""
    report = results.report("evaluate")
    matrix, labels = report.get("confusion"), report.get("labels")
    if not isinstance(matrix, list) or not isinstance(labels, list) or len(matrix) != len(labels) or not labels:
        return None
    if any(not isinstance(row, list) or len(row) != len(labels) for row in matrix):
        return None
    rows = tuple(tuple((int(n), int(n) / max(sum(row), 1)) for n in row) for row in matrix)
    return Confusion(tuple(str(label) for label in labels), rows)


def mistakes(pictures: Sequence[Picture], labels: Sequence[str]) -> tuple[Mistake, ...]:
    """Return pictures ready for the page; ``labels`` are the names of the classes."""
    return tuple(_mistake(picture, labels) for picture in pictures)


def _mistake(picture: Picture, labels: Sequence[str]) -> Mistake:
    channels, height, width = picture.pixels.shape
    # Two or four channels are not what a picture can be: the first is shown.
    pixels = picture.pixels.transpose(1, 2, 0) if channels == 3 else picture.pixels[0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=max(height, width) <= SMALL, quality=_QUALITY)
    return Mistake(
        f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}",
        width,
        height,
        max(height, width) <= SMALL,
        picture.number,
        labels[picture.actual],
        labels[picture.answer],
    )
