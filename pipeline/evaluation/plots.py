"""Rows of the plots that ``dvc plots`` draws (templates ``confusion`` and ``bar_horizontal``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics import Quality, Scores, predictions


def confusion_rows(scores: Scores, labels: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, str]]:
    """Return one row an image, with its ``actual`` and ``predicted`` class by name, for ``confusion``."""
    return [
        {"actual": names[actual], "predicted": names[predicted]}
        for actual, predicted in zip(labels, predictions(scores), strict=True)
    ]


def class_rows(quality: Quality, names: Sequence[str]) -> list[dict[str, str | float]]:
    """Return one row a class that has images, with its ``class`` and ``accuracy``, for ``bar_horizontal``."""
    return [
        {"class": name, "accuracy": float(accuracy)}
        for name, accuracy in zip(names, quality.per_class, strict=True)
        if not np.isnan(accuracy)
    ]
