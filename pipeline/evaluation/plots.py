"""Rows of the plots that ``dvc plots`` draws (templates ``confusion`` and ``bar_horizontal_sorted``)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.layer_error import LayerError
from pipeline.evaluation.metrics import Quality, Scores, predictions


def confusion_rows(scores: Scores, labels: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, str]]:
    """Return one row an image, with its ``actual`` and ``predicted`` class by name, for ``confusion``."""
    return [
        {"actual": names[actual], "predicted": names[predicted]}
        for actual, predicted in zip(labels, predictions(scores), strict=True)
    ]


def class_rows(quality: Quality, names: Sequence[str]) -> list[dict[str, str | float]]:
    """Return one row a class that has images, with its ``class`` and ``accuracy``, for ``bar_horizontal_sorted``."""
    return [
        {"class": name, "accuracy": float(accuracy)}
        for name, accuracy in zip(names, quality.per_class, strict=True)
        if not np.isnan(accuracy)
    ]


def error_rows(errors: Sequence[LayerError], names: Sequence[str]) -> list[dict[str, str | float]]:
    """Return one row a convolution with its ``layer``, ``snr_db`` and ``cosine``; one without any error has no row."""
    return [
        {"layer": names[error.convolution], "snr_db": error.snr_db, "cosine": error.cosine}
        for error in errors
        if math.isfinite(error.snr_db)
    ]
