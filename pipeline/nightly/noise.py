"""By how much two accuracies may differ without meaning anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.nightly.answers import Answers

#: Standard errors on either side that hold 95 % of a normal distribution.
Z = 1.96

#: Median of the difference of two draws of a normal distribution, in its standard deviations
#: (D. J. Wheeler, Advanced Topics in Statistical Process Control, table of bias factors: d4 of two).
_MEDIAN_RANGE = 0.954

#: Results that a spread is taken from: fewer say nothing, older ones are of other code.
_FEWEST, _MOST = 5, 20


def sampling_noise(before: Answers, now: Answers) -> float:
    """Return the difference of accuracies that the choice of test images alone makes, as a fraction.

    On the same images it is McNemar's test: only images that one got right and the other wrong count, and under no
    difference each falls to either side like a coin. T. G. Dietterich (Approximate Statistical Tests for Comparing
    Supervised Classification Learning Algorithms, Neural Computation 10, 1998) recommends it where each network was
    trained once. On other images, or where it is not known which were wrong, both accuracies have the standard error
    of a binomial.
    """
    if before.wrong is not None and now.wrong is not None and before.test_set == now.test_set:
        return Z * math.sqrt(float(np.count_nonzero(before.wrong != now.wrong))) / now.images
    return Z * math.sqrt(sum(each.accuracy * (1 - each.accuracy) / each.images for each in (before, now)))


def training_noise(values: Sequence[float]) -> float:
    """Return by how much a figure changes with another training of the same recipe, from results so far; 0 for few.

    It is taken from the median step from one result to the next (NIST/SEMATECH e-Handbook of Statistical Methods,
    6.3.2.2, individuals charts), so that neither a trend nor one large improvement counts as noise.

    Args:
        values: of results that differ, oldest first, in any unit.
    """
    recent = np.asarray(values[-_MOST:], np.float64)
    if len(recent) < _FEWEST:
        return 0.0
    deviation = float(np.median(np.abs(np.diff(recent)))) / _MEDIAN_RANGE
    return Z * math.sqrt(2) * deviation
