"""What the tests of quantisation share: one run of TensorFlow for all networks, one of the whole step."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from quantisation_networks import CONTRACT, NETWORKS, conv, head, make, unbalance
from torch import nn

from pipeline.network.contract import InputContract
from pipeline.network.fold import fold_batchnorm
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.quantisation.child import run_child
from pipeline.quantisation.quantise import Candidates, quantise
from pipeline.quantisation.settings import Settings
from pipeline.training.data.sets import DataSet


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """Smooth pictures, 32×3×12×12."""
    coarse = np.random.default_rng(0).integers(0, 256, (32, 3, 4, 4), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 3, axis=2), 3, axis=3)


@pytest.fixture(scope="session")
def in_tensorflow(tmp_path_factory: pytest.TempPathFactory, images: NDArray[np.uint8]) -> dict[str, Any]:
    """What ``tensorflow_side.py`` found out in one process: see there."""
    folder = tmp_path_factory.mktemp("tensorflow")
    for name in NETWORKS:
        onnx.save(make(name), folder / f"{name}.onnx")
    np.save(folder / "images.npy", images)
    np.save(folder / "inputs.npy", CONTRACT.normalise(images))
    script = Path(__file__).with_name("tensorflow_side.py")
    run_child([sys.executable, str(script), str(folder)], folder, silence_s=300, notify=lambda line: None)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return {**found, "folder": folder}


@pytest.fixture(scope="session")
def blobs() -> tuple[DataSet, DataSet]:
    """Noisy 1×16×16 images of four classes, told apart by the position and slant of a bar; 800 and 400."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 1200)
    rows, columns = np.mgrid[0:16, 0:16]
    pictures = []
    for label in labels:
        at, slant = random.uniform(4, 12), (0.0, 0.6, 1.6, -0.6)[label]
        distance = np.abs(rows - at - slant * (columns - 8)) / np.hypot(1, slant)
        pictures.append(np.clip(random.normal(60, 45, (16, 16)) + 90 * (distance < 1.5), 0, 255))
    stacked = np.asarray(pictures)[:, None].astype(np.uint8)
    return DataSet(stacked[:800], labels[:800]), DataSet(stacked[800:], labels[800:])


@pytest.fixture(scope="session")
def blob_contract() -> InputContract:
    return InputContract((1, 16, 16), (0.3,), (0.25,))


@pytest.fixture(scope="session")
def trained(blobs: tuple[DataSet, DataSet], blob_contract: InputContract) -> onnx.ModelProto:
    """A network that tells the blobs apart, batch norm folded."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Sequential(
        conv(1, 8), conv(8, 8, stride=2), conv(8, 8, groups=8), conv(8, 16, 1), nn.MaxPool2d(2), conv(16, 16), head(16)
    )
    inputs, labels = torch.from_numpy(blob_contract.normalise(blobs[0].images)), torch.from_numpy(blobs[0].labels)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(20):
        for batch in torch.randperm(len(inputs)).split(50):
            loss = nn.functional.cross_entropy(network(inputs[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return to_onnx(fold_batchnorm(to_torch(to_onnx(network.eval(), blob_contract))), blob_contract)


@pytest.fixture(scope="session")
def unbalanced(trained: onnx.ModelProto) -> onnx.ModelProto:
    """The trained network, every fourth channel scaled by 40."""
    return unbalance(trained, 40.0)


@pytest.fixture(scope="session")
def candidates(unbalanced: onnx.ModelProto, blobs: tuple[DataSet, DataSet], blob_contract: InputContract) -> Candidates:
    train, validation = blobs
    return quantise(
        unbalanced,
        blob_contract,
        train.images[:128],
        train=train,
        validation=validation,
        settings=Settings(epochs=1, lr=3e-4, threads=1),
        notify=lambda line: None,
    )
