"""Draws fashion-mnist-mini, the embedded default, from Fashion-MNIST: ``python -m pipeline.training.data.mini``.

5,000 of the 60,000 training images and 1,000 of the 10,000 test images, the same number of each class, by a fixed seed.
Fetches the full set first if it is not in the cache. The files come out byte for byte as they are in the package.
Licence: MIT, © 2017 Zalando SE (`fashion_mnist_mini.LICENSE`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pipeline.files import write_json
from pipeline.training.data import npz
from pipeline.training.data.fetch import describe, fetch
from pipeline.training.data.published import FASHION_MNIST, Arrays
from pipeline.training.data.shipped import MINI_FILE, MINI_MANIFEST, MINI_NAME
from pipeline.training.data.split import pick

SEED = 2017
COUNTS = {"train": 5000, "test": 1000}


def draw(full: Arrays) -> Arrays:
    """Return the mini set's x_train, y_train, x_test, y_test out of the full set's."""
    arrays = {}
    for purpose, (part, count) in enumerate(COUNTS.items()):
        rows = pick(full[f"y_{part}"].astype(np.int64), count, SEED, purpose)
        arrays[f"x_{part}"] = full[f"x_{part}"][rows]
        arrays[f"y_{part}"] = full[f"y_{part}"][rows]
    return arrays


def make(root: Path, target: Path, manifest: Path) -> None:
    """Write the mini set to ``target`` and its manifest to ``manifest``, from the full set in the cache of ``root``.

    Raises:
        DataError: the full set cannot be fetched.
        StorageError: the files cannot be written.
    """
    with np.load(fetch(FASHION_MNIST.name, root), allow_pickle=False) as full:
        arrays = draw(dict(full))
    npz.write(target, arrays, compress=True)
    write_json(manifest, describe(MINI_NAME, FASHION_MNIST.licence, FASHION_MNIST.homepage, arrays))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project's folder, whose cache is used")
    make(parser.parse_args().root, MINI_FILE, MINI_MANIFEST)
