"""train: a zoo network from scratch, or the user's own network, as ONNX with the input contract inside."""

from __future__ import annotations

import os

import torch

from pipeline.network.contract import InputContract
from pipeline.network.importers import import_network
from pipeline.network.lift import to_torch
from pipeline.network.trace import trace
from pipeline.network.weights import parameters
from pipeline.network.zoo import build
from pipeline.recipe import TorchModel, Train, ZooModel
from pipeline.stages.layout import Run
from pipeline.stages.networks import Network, onnx_bytes
from pipeline.training.accuracy import accuracy
from pipeline.training.data.load import load_training
from pipeline.training.data.sets import Training
from pipeline.training.loop import FitSettings, fit


def run(run: Run) -> int:
    """Write ``network.onnx``, trained, with its accuracy on the validation images."""
    recipe = run.recipe
    data = load_training(recipe.data, recipe.seed, run.root)
    network = untrained(run, trust=os.environ.get("KPUFIT_TRUST") == "1")
    losses = _train(network, data, recipe.train, recipe.seed) if recipe.train else ()
    run.write_results(
        "train",
        files={"network.onnx": onnx_bytes(network)},
        metrics={
            "validation_accuracy": accuracy(network.graph, data.validation, network.contract),
            "parameters": parameters(network.graph),
        },
        report={
            "model": recipe.model.model_dump(mode="json"),
            "images": {"train": len(data.train), "validation": len(data.validation)},
            "losses": list(losses),
        },
    )
    return 0


def untrained(run: Run, *, trust: bool) -> Network:
    """Return the network as the recipe names it, with random weights if it comes from the zoo.

    Raises:
        NetworkError: a user's own network cannot be read, or is Python code that is not trusted.
    """
    data, model = run.recipe.data, run.recipe.model
    contract = InputContract(data.image, data.channel_mean, data.channel_std)
    if isinstance(model, ZooModel):
        torch.manual_seed(run.recipe.seed)
        graph = trace(build(model.name, data.image, len(data.labels), model.width))
        return Network(graph, contract)
    imported = import_network(model, data.image, len(data.labels), run.root, trust=trust)
    return Network(to_torch(imported, where=model.factory if isinstance(model, TorchModel) else model.path), contract)


def _train(network: Network, data: Training, train: Train, seed: int) -> tuple[float, ...]:
    settings = FitSettings(
        epochs=train.epochs,
        lr=train.lr,
        batch=train.batch,
        weight_decay=train.weight_decay,
        augment=tuple(train.augment),
        label_smoothing=train.label_smoothing,
    )
    return fit(network.graph, data.train, network.contract, settings, seed=seed, title="train").losses
