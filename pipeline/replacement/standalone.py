"""Replacement of a network on its own, outside any recipe: with images, or for its structure alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import fx

from pipeline.network.contract import InputContract
from pipeline.recipe import Replace
from pipeline.replacement.apply import Replaced, replace_network
from pipeline.replacement.judge import Judge, by_labels, by_likeness
from pipeline.training.data.loose import Loose
from pipeline.training.data.sets import DataSet

_VALIDATION = 0.2
_CALIBRATION = 256
_NOISE = 4
"""Images of noise that stand in where none were given."""


@dataclass(frozen=True)
class Standalone:
    """A network after replacement.

    Attributes:
        replaced: the network and its report.
        judged: what its accuracy in the report is: "labels", "likeness" to the network given, or "noise", on which
            nothing was learnt.
    """

    replaced: Replaced
    judged: str


def replace_alone(
    network: fx.GraphModule, contract: InputContract, images: Loose | None, settings: Replace, *, seed: int
) -> Standalone:
    """Replace what the KPU cannot run; ``network`` is not changed.

    Of the images every fifth, at random, judges; the others fit and distil. Labels only judge. Without images the
    learned rules are initialised on noise and not fitted further: the structure is right, the numbers are not, so that
    no replacement is given up for its accuracy.

    Raises:
        NetworkError: distillation diverges.
    """
    rng = np.random.default_rng(seed)
    if images is None:
        noise = rng.integers(0, 256, (_NOISE, *contract.image), np.uint8)
        data = DataSet(noise, np.zeros(_NOISE, np.int64))
        bare = settings.model_copy(update={"max_drop": 1.0, "regression_steps": 0, "distil_steps": 0})
        replaced = replace_network(
            network, contract, noise, data, data, bare, seed=seed, judge=by_likeness(network, noise, contract)
        )
        return Standalone(replaced, "noise")
    order = rng.permutation(len(images.data))
    held = max(1, int(len(order) * _VALIDATION))
    validation, train = images.data.take(order[:held]), images.data.take(order[held:] if len(order) > held else order)
    judge: Judge = by_labels(validation) if images.labelled else by_likeness(network, validation.images, contract)
    calibration = train.images[:_CALIBRATION]
    replaced = replace_network(network, contract, calibration, train, validation, settings, seed=seed, judge=judge)
    return Standalone(replaced, "labels" if images.labelled else "likeness")
