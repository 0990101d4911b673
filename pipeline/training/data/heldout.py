"""The test images. Only `stages/evaluate` imports this module: no decision may look at them."""

from __future__ import annotations

from pathlib import Path

from pipeline.recipe import Data
from pipeline.training.data.parts import read_test
from pipeline.training.data.sets import DataSet


def load_test(data: Data, seed: int, root: Path) -> DataSet:
    """Return the test images of a recipe's data.

    Args:
        data: the recipe's section.
        seed: the recipe's (it decides only where the data has no test part of its own).
        root: the project's folder.

    Raises:
        DataError: the data is missing (remedy: ``kpufit data NAME``), torn, or unlike the recipe.
    """
    return read_test(data, seed, root)
