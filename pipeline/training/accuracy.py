"""What a network answers, and how often it is right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.network.contract import InputContract
from pipeline.progress import track
from pipeline.training.data.sets import DataSet
from pipeline.training.modes import evaluating

_BATCH = 250


def predict(graph: nn.Module, images: NDArray[np.uint8], contract: InputContract) -> NDArray[np.float32]:
    """Return the logits (float32 N×classes) of ``images`` (uint8 N×C×H×W), BatchNorm in evaluation mode."""
    logits = []
    with evaluating(graph), torch.inference_mode():
        for start in track(range(0, len(images), _BATCH), "evaluating"):
            batch = torch.from_numpy(contract.normalise(images[start : start + _BATCH]))
            logits.append(graph(batch).numpy())
    answers: NDArray[np.float32] = np.concatenate(logits)
    return answers


def accuracy(graph: nn.Module, data: DataSet, contract: InputContract) -> float:
    """Return the fraction of ``data`` that the network's largest logit names correctly."""
    return float(np.mean(predict(graph, data.images, contract).argmax(axis=1) == data.labels))
