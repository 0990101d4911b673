"""How good a network is, as one number: its accuracy where it has labels, else how like another network it answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.network.contract import InputContract
from pipeline.training.accuracy import accuracy
from pipeline.training.data.sets import DataSet
from pipeline.training.modes import evaluating

Judge = Callable[[nn.Module, InputContract], float]
"""Returns at most 1; more is better."""

_BATCH = 32


def by_labels(data: DataSet) -> Judge:
    """Judge by the fraction of ``data`` that a network names correctly."""
    return lambda network, contract: accuracy(network, data, contract)


def by_likeness(teacher: nn.Module, images: NDArray[np.uint8], contract: InputContract) -> Judge:
    """Judge by how like ``teacher`` a network answers on ``images`` (uint8 N×C×H×W).

    Of classes (N×C outputs): the share of images on which both name the same. Of anything else: one less the root of
    the mean square difference over the teacher's variance, each output counting alike.
    """
    wanted = answers(teacher, images, contract)
    if len(wanted) == 1 and wanted[0].ndim == 2 and wanted[0].shape[1] > 1:
        named = wanted[0].argmax(1)
        return lambda network, own: float((answers(network, images, own)[0].argmax(1) == named).float().mean())

    def likeness(network: nn.Module, own: InputContract) -> float:
        pairs = zip(answers(network, images, own), wanted, strict=True)
        errors = [(given - each).square().mean() / each.var().clamp_min(1e-12) for given, each in pairs]
        return 1 - float(torch.stack(errors).mean().sqrt())

    return likeness


def answers(network: nn.Module, images: NDArray[np.uint8], contract: InputContract) -> tuple[Tensor, ...]:
    """Return every output of a network for ``images``, batches joined, BatchNorm in evaluation mode."""
    parts: list[tuple[Tensor, ...]] = []
    with evaluating(network), torch.no_grad():
        for start in range(0, len(images), _BATCH):
            given = network(torch.from_numpy(contract.normalise(images[start : start + _BATCH])))
            parts.append(given if isinstance(given, tuple) else (given,))
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))
