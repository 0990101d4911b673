"""Replacement of a network on its own, outside any recipe: with images, or for its structure alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import fx

from pipeline.network.contract import InputContract
from pipeline.recipe import Replace
from pipeline.replacement.apply import Replaced, replace_network
from pipeline.replacement.distil import DISTIL
from pipeline.replacement.judge import Judge, by_labels, by_likeness
from pipeline.training.data.loose import Loose
from pipeline.training.data.sets import DataSet
from pipeline.training.loop import fit

_VALIDATION = 0.2
_CALIBRATION = 256
_NOISE = 4
"""Images of noise that stand in where none were given."""
_NARROWED = "narrowed to the channels that the KPU counts"
_ROUNDING = 1e-9

Narrow = Callable[[fx.GraphModule, InputContract, NDArray[np.uint8]], fx.GraphModule]
"""Returns a network without the channels that the KPU cannot count and no rule can take away, the same if it has none.

It is given images to fit on (uint8 N×C×H×W) and must not change the network."""


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
    network: fx.GraphModule,
    contract: InputContract,
    images: Loose | None,
    settings: Replace,
    *,
    seed: int,
    narrow: Narrow | None = None,
) -> Standalone:
    """Replace what the KPU cannot run; ``network`` is not changed.

    First comes ``narrow``: what it gives is distilled from ``network`` if it costs more than ``settings.max_drop``, and
    left if it then still does. What it cost is not for replacement to cost as well.

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
        narrowed = network if narrow is None else narrow(network, contract, noise)
        judge = by_likeness(narrowed, noise, contract)
        replaced = replace_network(narrowed, contract, noise, data, data, bare, seed=seed, judge=judge)
        if narrowed is not network:
            report = replace(replaced.report, notes=(f"{_NARROWED}, unfitted", *replaced.report.notes))
            replaced = replace(replaced, report=report)
        return Standalone(replaced, "noise")
    order = rng.permutation(len(images.data))
    held = max(1, int(len(order) * _VALIDATION))
    validation, train = images.data.take(order[:held]), images.data.take(order[held:] if len(order) > held else order)
    judge = by_labels(validation) if images.labelled else by_likeness(network, validation.images, contract)
    calibration = train.images[:_CALIBRATION]
    narrowed = network if narrow is None else narrow(network, contract, calibration)
    if narrowed is network:
        replaced = replace_network(network, contract, calibration, train, validation, settings, seed=seed, judge=judge)
    else:
        replaced = _from_narrowed(network, narrowed, contract, calibration, train, validation, settings, judge, seed)
    return Standalone(replaced, "labels" if images.labelled else "likeness")


def _from_narrowed(
    network: fx.GraphModule,
    narrowed: fx.GraphModule,
    contract: InputContract,
    calibration: NDArray[np.uint8],
    train: DataSet,
    validation: DataSet,
    settings: Replace,
    judge: Judge,
    seed: int,
) -> Replaced:
    """Replace in the narrowed network, or in the network itself where narrowing costs too much."""
    before = judge(network, contract)
    cost = before - judge(narrowed, contract)
    if cost > settings.max_drop + _ROUNDING and settings.distil_steps:
        narrowed = copy.deepcopy(narrowed)
        how = replace(DISTIL, steps=settings.distil_steps)
        fit(narrowed, train, contract, how, seed=seed, teacher=network, title="distilling the narrowed network")
        cost = before - judge(narrowed.eval(), contract)
    fits = cost <= settings.max_drop + _ROUNDING
    left = settings.model_copy(update={"max_drop": settings.max_drop - max(0.0, cost)}) if fits else settings
    start = narrowed if fits else network
    replaced = replace_network(start, contract, calibration, train, validation, left, seed=seed, judge=judge)
    report = replaced.report
    note = f"{_NARROWED}, which cost {cost:.2%} of accuracy"
    if not fits:
        note = f"left wider than the KPU counts, as narrowing cost {cost:.2%} of accuracy; raise replace.max_drop"
    accuracy = replace(report.accuracy, before=before)
    accepted = before - accuracy.after <= settings.max_drop + _ROUNDING
    return replace(
        replaced,
        report=replace(
            report, accuracy=accuracy, max_drop=settings.max_drop, accepted=accepted, notes=(note, *report.notes)
        ),
    )
