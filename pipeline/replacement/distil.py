"""Training a network after replacement to answer as it did before, without labels."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import nn

from pipeline.network.contract import InputContract
from pipeline.recipe import Replace
from pipeline.replacement.judge import Judge
from pipeline.replacement.report import Accuracy
from pipeline.training.data.sets import DataSet
from pipeline.training.features import watching
from pipeline.training.loop import FitSettings, fit
from pipeline.training.modes import evaluating

DISTIL = FitSettings(epochs=0, lr=0.01, augment=("shift",), distil_weight=1.0)
"""From the teacher's logits, and its features at the layers replaced. Measured on the zoo's `large-kernels`, validation
accuracy 90.42 % before and 87.76 % after regression: one epoch from logits alone 88.80 %, with features 89.14 %; three
epochs 89.64 %, with three times the learning rate 89.72 %, without features 89.34 %."""
_MOST_ROUNDS = 3
"""Distillation goes on for up to twice the steps again where the first round does not suffice."""
_GOAL = 0.5
"""Of what may be lost: what is lost on other images is a little more or less than on those that decide."""


def distil(
    student: nn.Module,
    contract: InputContract,
    teacher: nn.Module,
    features: dict[str, str],
    train: DataSet,
    judge: Judge,
    settings: Replace,
    seed: int,
    scores: Accuracy,
) -> tuple[Accuracy, int]:
    """Train ``student`` in place to answer as ``teacher``, until its accuracy is back or the rounds are over.

    It is left in the best state seen. Returns the accuracies and the steps done.

    Args:
        student: after replacement.
        contract: the input of both.
        teacher: before it.
        features: `shared_features`.
        train: images to learn from.
        judge: measures the student.
        settings: the recipe's.
        seed: equal seeds give equal networks.
        scores: of the student so far.
    """
    best, state = scores.after, copy.deepcopy(student.state_dict())
    last, done = scores.after_distillation, 0
    for number in range(_MOST_ROUNDS if settings.distil_steps else 0):
        if number and scores.before - best <= _GOAL * settings.max_drop:
            break
        chosen = replace(DISTIL, steps=settings.distil_steps)
        fit(
            student, train, contract, chosen, seed=seed + number, teacher=teacher, features=features, title="distilling"
        )
        done += settings.distil_steps
        last = judge(student, contract)
        if last > best:
            best, state = last, copy.deepcopy(student.state_dict())
    student.load_state_dict(state)
    return replace(scores, after_distillation=last, after=best), done


def shared_features(
    student: nn.Module, teacher: nn.Module, prefix: str, layers: Collection[str], contract: InputContract
) -> dict[str, str]:
    """Return those of ``layers`` that give values of equal shape in both networks, with their names in the teacher.

    Args:
        student: after replacement.
        teacher: before it.
        prefix: of the names of its layers.
        layers: the last layers of replacements, by their names in the student.
        contract: the input of both.
    """
    own, others = dict(student.named_modules()), dict(teacher.named_modules())
    pairs = {layer: prefix + layer for layer in layers if layer in own and prefix + layer in others}
    blank = torch.zeros(1, *contract.image)
    with (
        evaluating(student),
        evaluating(teacher),
        torch.no_grad(),
        watching(student, pairs.keys()) as given,
        watching(teacher, set(pairs.values())) as wanted,
    ):
        student(blank)
        teacher(blank)
    return {
        layer: other
        for layer, other in pairs.items()
        if layer in given and other in wanted and given[layer].shape == wanted[other].shape
    }
