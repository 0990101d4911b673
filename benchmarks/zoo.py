"""Train the networks that the replacement benchmark starts from: ``python -m benchmarks.zoo [NAME…] [--epochs N]``.

Each is trained with the project's own loop and data until its accuracy on the validation images stands still: a cycle
of N epochs, then cycles of N/2 epochs at a quarter of its learning rate until one of them gains less than 0.3 points.
``benchmarks/zoo/NAME.onnx`` is the best of the cycles, ``results.json`` beside it how it came about, with the accuracy
on the test images, which are read once, at the end, and decide nothing. A network that is there is not trained again.

The data are to be fetched first: ``kpufit data fashion-mnist`` and ``kpufit data cifar-10``.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from torch import fx, nn

from benchmarks._zoo_networks import ARCHITECTURES, Architecture
from benchmarks._zoo_report import report
from pipeline.files import write_bytes, write_json, write_text
from pipeline.network.contract import InputContract
from pipeline.network.trace import trace
from pipeline.network.weights import parameters
from pipeline.recipe import Data
from pipeline.stages.networks import Network, load_network, onnx_bytes
from pipeline.training.accuracy import accuracy
from pipeline.training.augment import Augmentation
from pipeline.training.data.heldout import load_test
from pipeline.training.data.load import load_training
from pipeline.training.data.sets import DataSet, Training
from pipeline.training.loop import FitSettings, fit

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "zoo"
RESULTS = FOLDER / "results.json"
SEED = 0
BATCH = 128
LEARNING_RATE = 0.1
LARGEST_GAIN = 0.003  # of validation accuracy in a cycle: below it, a network has converged
MOST_CYCLES = 3
AUGMENT: dict[str, tuple[Augmentation, ...]] = {"fashion-mnist": ("flip",), "cifar-10": ("flip", "shift")}
"""Fashion-MNIST's garments are centred; networks this small, which do not overfit, converge sooner without shifts."""

_GARMENTS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATA = {
    "fashion-mnist": Data(
        name="fashion-mnist",
        path=None,
        image=(1, 32, 32),
        mean=[0.286],
        std=[0.353],
        labels=list(_GARMENTS),
        validation=5000,
        test=None,
    ),
    "cifar-10": Data(
        name="cifar-10",
        path=None,
        image=(3, 32, 32),
        mean=[0.4914, 0.4822, 0.4465],
        std=[0.247, 0.2435, 0.2616],
        labels=list(_THINGS),
        validation=5000,
        test=None,
    ),
}


def contract_of(data: Data) -> InputContract:
    """Return the input of a network for ``data``."""
    return InputContract(data.image, data.channel_mean, data.channel_std)


def untrained(architecture: Architecture) -> Network:
    """Return a network of the zoo with its first random weights."""
    torch.manual_seed(SEED)
    return Network(trace(architecture.build()), contract_of(DATA[architecture.data]))


def train(network: Network, data: Training, epochs: int, augment: tuple[Augmentation, ...]) -> list[dict[str, Any]]:
    """Train in place, cycle after cycle, and leave the weights of the best; return the history, an entry an epoch."""
    history: list[dict[str, Any]] = []
    best, best_weights = 0.0, copy.deepcopy(network.graph.state_dict())
    network.graph.to(memory_format=torch.channels_last)  # 1.3 times as fast on a CPU
    for cycle in range(MOST_CYCLES):
        length = epochs if cycle == 0 else -(-epochs // 2)
        settings = FitSettings(
            epochs=length,
            lr=LEARNING_RATE if cycle == 0 else LEARNING_RATE / 4,
            batch=BATCH,
            augment=augment,
        )
        with _measured(network, data, length) as measured:
            losses = fit(network.graph, data.train, network.contract, settings, seed=SEED + cycle).losses
        measured.append(accuracy(network.graph, data.validation, network.contract))
        history += [
            {"cycle": cycle + 1, "loss": round(loss, 4), "validation_accuracy": found}
            for loss, found in zip(losses, measured, strict=True)
        ]
        gain = measured[-1] - best
        if gain > 0:
            best, best_weights = measured[-1], copy.deepcopy(network.graph.state_dict())
        if gain < LARGEST_GAIN:
            break
    network.graph.load_state_dict(best_weights)
    network.graph.to(memory_format=torch.contiguous_format)
    return history


@contextmanager
def _measured(network: Network, data: Training, epochs: int) -> Iterator[list[float]]:
    """Yield a list that gets the validation accuracy after each epoch but the last while ``fit`` runs.

    ``fit`` has no call-back, but each of its steps calls the network once, in training mode.
    """
    an_epoch = len(data.train) // BATCH
    found: list[float] = []
    steps = 0

    def before(graph: nn.Module, _: object) -> None:
        nonlocal steps
        if not graph.training:
            return
        if steps and steps % an_epoch == 0 and len(found) < epochs - 1:
            found.append(accuracy(network.graph, data.validation, network.contract))
            print(f"  epoch {len(found)}/{epochs}: {found[-1]:.2%}", file=sys.stderr, flush=True)
        steps += 1

    handle = network.graph.register_forward_pre_hook(before)
    try:
        yield found
    finally:
        handle.remove()


def make(name: str, epochs: int, augment: tuple[Augmentation, ...], data: Training, test: DataSet) -> dict[str, Any]:
    """Train one network, write its file and return its entry of the results."""
    architecture = ARCHITECTURES[name]
    network = untrained(architecture)
    start = time.perf_counter()
    history = train(network, data, epochs, augment)
    seconds = time.perf_counter() - start
    path = FOLDER / f"{name}.onnx"
    write_bytes(path, onnx_bytes(network))
    read = load_network(path)
    cycles = [
        [entry["validation_accuracy"] for entry in history if entry["cycle"] == 1 + i] for i in range(MOST_CYCLES)
    ]
    ends = [cycle[-1] for cycle in cycles if cycle]
    return {
        "network": name,
        "data": architecture.data,
        "covers": list(architecture.covers),
        "parameters": parameters(read.graph),
        "bytes": path.stat().st_size,
        "epochs": len(history),
        "seconds": round(seconds),
        "augment": list(augment),
        "threads": torch.get_num_threads(),
        "validation_accuracy": accuracy(read.graph, data.validation, read.contract),
        "test_accuracy": accuracy(read.graph, test, read.contract),
        "gain_of_last_cycle": round(ends[-1] - max(ends[:-1]), 4) if len(ends) > 1 else None,
        "command": f"python -m benchmarks.zoo {name} --epochs {epochs} --augment {' '.join(augment)}",
        "history": history,
    }


def load_results() -> dict[str, Any]:
    """Return the results so far, by network."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return results


def load(name: str) -> tuple[fx.GraphModule, InputContract]:
    """Return a trained network of the zoo."""
    network = load_network(FOLDER / f"{name}.onnx")
    return network.graph, network.contract


def main() -> None:
    """Train what is missing, one network after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARCHITECTURES)}; none: all")
    parser.add_argument("--epochs", type=int, default=16, help="of the first cycle")
    parser.add_argument("--augment", nargs="+", choices=get_args(Augmentation), help="none: what suits the data")
    parser.add_argument("--threads", type=int, default=1, help="other numbers give other weights")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(ARCHITECTURES))
    if unknown:
        parser.error(f"no network {', '.join(unknown)}")
    torch.set_num_threads(arguments.threads)
    loaded: dict[str, tuple[Training, DataSet]] = {}
    for name in arguments.names or ARCHITECTURES:
        if name in load_results() and (FOLDER / f"{name}.onnx").exists():
            continue
        data = ARCHITECTURES[name].data
        if data not in loaded:
            loaded[data] = load_training(DATA[data], SEED, ROOT), load_test(DATA[data], SEED, ROOT)
        augment = tuple(arguments.augment or AUGMENT[data])
        entry = make(name, arguments.epochs, augment, *loaded[data])
        write_json(RESULTS, {**load_results(), name: entry})
        write_text(ROOT / "benchmarks" / "zoo.md", report(load_results()))
        print(json.dumps({key: value for key, value in entry.items() if key != "history"}), flush=True)


if __name__ == "__main__":
    main()
