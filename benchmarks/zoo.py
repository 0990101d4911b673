"""Train the networks that the replacement benchmark starts from: ``python -m benchmarks.zoo [NAME…] [--epochs N]``.

Each is trained with the project's own loop and data until its accuracy on the validation images stands still: a cycle
of N epochs, then cycles of N/2 epochs at a quarter of its learning rate until one of them gains less than 0.3 points,
or there were ``--cycles`` of them; the same command with more cycles trains such a network on.
``benchmarks/zoo/NAME.onnx`` is the best of the cycles, ``results.json`` beside it how it came about, with the accuracy
on the test images, which decide nothing. A network that has converged is not trained again.

The data are to be fetched first: ``kpufit data fashion-mnist`` and ``kpufit data cifar-10``.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
History = Sequence[Mapping[str, Any]]
SEED = 0
BATCH = 128
LEARNING_RATE = 0.1
LARGEST_GAIN = 0.003  # of validation accuracy in a cycle: below it, a network has converged
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


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Attributes:
        epochs: of the first cycle; the others have half as many.
        cycles: at most.
        augment: random changes to the images.
    """

    epochs: int
    cycles: int
    augment: tuple[Augmentation, ...]

    def options(self) -> str:
        """Return it as options of the command line."""
        return f"--epochs {self.epochs} --cycles {self.cycles} --augment {' '.join(self.augment)}"


def contract_of(data: Data) -> InputContract:
    """Return the input of a network for ``data``."""
    return InputContract(data.image, data.channel_mean, data.channel_std)


def untrained(architecture: Architecture) -> Network:
    """Return a network of the zoo with its first random weights."""
    torch.manual_seed(SEED)
    return Network(trace(architecture.build()), contract_of(DATA[architecture.data]))


def train(
    network: Network, data: Training, schedule: Schedule, earlier: History, save: Callable[[History], None]
) -> None:
    """Train in place, cycle after cycle, and leave the weights of the best.

    Args:
        network: untrained, or as an earlier call left it.
        data: training and validation images.
        schedule: how long, and with which changes to the images.
        earlier: the history that the earlier call saved, an entry an epoch.
        save: called after each cycle with the history so far, the best weights in the network.
    """
    history = list(earlier)
    network.graph.to(memory_format=torch.channels_last)  # 1.3 times as fast on a CPU
    best_weights = copy.deepcopy(network.graph.state_dict())
    while goes_on(history, schedule.cycles):
        cycle = len(cycle_ends(history))
        length = schedule.epochs if cycle == 0 else -(-schedule.epochs // 2)
        settings = FitSettings(
            epochs=length,
            lr=LEARNING_RATE if cycle == 0 else LEARNING_RATE / 4,
            batch=BATCH,
            augment=schedule.augment,
        )
        with _measured(network, data, length) as measured:
            losses = fit(network.graph, data.train, network.contract, settings, seed=SEED + cycle).losses
        measured.append(accuracy(network.graph, data.validation, network.contract))
        history += [
            {"cycle": cycle + 1, "loss": round(loss, 4), "validation_accuracy": found}
            for loss, found in zip(losses, measured, strict=True)
        ]
        gain = gain_of_last_cycle(history)
        if gain is None or gain > 0:
            best_weights = copy.deepcopy(network.graph.state_dict())
        else:
            network.graph.load_state_dict(best_weights)
        save(history)


def cycle_ends(history: History) -> list[float]:
    """Return the validation accuracy at the end of each cycle."""
    return list({entry["cycle"]: entry["validation_accuracy"] for entry in history}.values())


def gain_of_last_cycle(history: History) -> float | None:
    """Return what the last cycle added to the best validation accuracy before it; None while there is but one."""
    ends = cycle_ends(history)
    return ends[-1] - max(ends[:-1]) if len(ends) > 1 else None


def goes_on(history: History, cycles: int) -> bool:
    """Whether a network has not converged and may have another cycle."""
    gain = gain_of_last_cycle(history)
    return len(cycle_ends(history)) < cycles and (gain is None or gain >= LARGEST_GAIN)


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


def make(name: str, schedule: Schedule, data: Training, test: DataSet) -> None:
    """Train one network, or train it on; write its file and its entry of the results after each cycle.

    A network that is read from its file has no Dropout any more.
    """
    path = FOLDER / f"{name}.onnx"
    earlier = load_results().get(name) if path.exists() else None
    network = load_network(path) if earlier else untrained(ARCHITECTURES[name])
    spent = earlier["seconds"] if earlier else 0
    start = time.perf_counter()

    def save(history: History) -> None:
        seconds = spent + time.perf_counter() - start
        write_bytes(path, onnx_bytes(network))
        read = load_network(path)
        gain = gain_of_last_cycle(history)
        entry = {
            "network": name,
            "data": ARCHITECTURES[name].data,
            "covers": list(ARCHITECTURES[name].covers),
            "parameters": parameters(read.graph),
            "bytes": path.stat().st_size,
            "epochs": len(history),
            "seconds": round(seconds),
            "augment": list(schedule.augment),
            "threads": torch.get_num_threads(),
            "validation_accuracy": accuracy(read.graph, data.validation, read.contract),
            "test_accuracy": accuracy(read.graph, test, read.contract),
            "gain_of_last_cycle": None if gain is None else round(gain, 4),
            "converged": gain is not None and gain < LARGEST_GAIN,
            "command": f"python -m benchmarks.zoo {name} {schedule.options()}",
            "history": list(history),
        }
        write_json(RESULTS, {**load_results(), name: entry})
        write_text(ROOT / "benchmarks" / "zoo.md", report(load_results()))
        print(json.dumps({key: value for key, value in entry.items() if key != "history"}), flush=True)

    train(network, data, schedule, earlier["history"] if earlier else (), save)


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
    parser.add_argument("--cycles", type=int, default=3, help="at most; more than a network has had: it is trained on")
    parser.add_argument("--augment", nargs="+", choices=get_args(Augmentation), help="none: what suits the data")
    parser.add_argument("--threads", type=int, default=1, help="other numbers give other weights")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(ARCHITECTURES))
    if unknown:
        parser.error(f"no network {', '.join(unknown)}")
    torch.set_num_threads(arguments.threads)
    loaded: dict[str, tuple[Training, DataSet]] = {}
    for name in arguments.names or ARCHITECTURES:
        there = load_results().get(name, {}) if (FOLDER / f"{name}.onnx").exists() else {}
        if not goes_on(there.get("history", ()), arguments.cycles):
            continue
        data = ARCHITECTURES[name].data
        if data not in loaded:
            loaded[data] = load_training(DATA[data], SEED, ROOT), load_test(DATA[data], SEED, ROOT)
        schedule = Schedule(arguments.epochs, arguments.cycles, tuple(arguments.augment or AUGMENT[data]))
        make(name, schedule, *loaded[data])


if __name__ == "__main__":
    main()
