"""Who sees which image: stratified splits, the same for a seed on every machine and version of NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Rows = NDArray[np.int64]

# One random order each, so that a different number of validation images leaves the test images alone.
TEST, VALIDATION, CALIBRATION = 0, 1, 2


def shuffled(count: int, seed: int, purpose: int) -> Rows:
    """Return 0 … ``count`` − 1 in a random order.

    Sorts the raw words of PCG64, whose stream NumPy never changes (NEP 19); ``Generator.permutation`` may change.
    """
    words: NDArray[np.uint64] = np.random.PCG64([abs(seed), int(seed < 0), purpose]).random_raw(count)
    order: Rows = np.argsort(words, kind="stable").astype(np.int64)
    return order


def pick(labels: NDArray[np.int64], count: int, seed: int, purpose: int) -> Rows:
    """Return ``count`` rows, ascending, each class in proportion. ``count`` must not exceed the number of labels."""
    classes, sizes = np.unique(labels, return_counts=True)
    order = shuffled(len(labels), seed, purpose)
    of_class = labels[order]
    quotas = _quotas(sizes, count)
    rows: Rows = np.sort(np.concatenate([order[of_class == c][:q] for c, q in zip(classes, quotas, strict=True)]))
    return rows


def hold_out(labels: NDArray[np.int64], count: int, seed: int, purpose: int, *, what: str) -> tuple[Rows, Rows]:
    """Divide images into those that stay and ``count`` held out, each class in proportion.

    Args:
        labels: int64 N.
        count: how many to hold out, in all.
        seed: the recipe's.
        purpose: TEST or VALIDATION.
        what: the name of the held-out images, for messages.

    Returns:
        The rows that stay and the rows held out, each ascending.

    Raises:
        DataError: too few images to hold out ``count`` and leave one of each class, or ``count`` below one a class.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if count < len(classes):
        raise DataError(
            f"{count} {what} images are too few for {len(classes)} classes",
            remedy=f"ask for at least {len(classes)} {what} images, better {20 * len(classes)}",
        )
    if count >= len(labels) or np.any(_quotas(sizes, count) >= sizes):
        raise DataError(
            f"{count} {what} images asked for, but only {len(labels)} images are there "
            f"({sizes.min()} in the smallest class)",
            remedy=f"ask for fewer {what} images or give more images",
        )
    held = pick(labels, count, seed, purpose)
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def _quotas(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """``count`` shared out in proportion to ``sizes`` by largest remainder; ties to the earlier class."""
    exact = sizes * (count / sizes.sum())
    quotas: Rows = np.floor(exact).astype(np.int64)
    leftover = count - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:leftover]] += 1
    return quotas
