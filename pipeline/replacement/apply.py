"""Replacing a network's layers: exact rules, learned rules fitted one by one, then distillation of the whole."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from pipeline.errors import NetworkError
from pipeline.network.contract import InputContract
from pipeline.recipe import Replace
from pipeline.replacement.regression import affordable, record, regress, value_name
from pipeline.replacement.report import Accuracy, Report, layers_of
from pipeline.replacement.rewrite import Rewritten, rewrite
from pipeline.replacement.rule import Built, Match, Rule, Site
from pipeline.replacement.rules import all_rules
from pipeline.replacement.rules.normalisation import Renormalise
from pipeline.training.accuracy import accuracy, predict
from pipeline.training.data.sets import DataSet
from pipeline.training.loop import FitSettings, fit

_COMPARED = 64
"""Images on which exact rules are compared with what they replace."""
_DISTIL = FitSettings(epochs=0, lr=0.01, augment=("shift",), distil_weight=1.0)
"""From the teacher's logits alone: no labels are needed. Measured on 5,000 images of Fashion-MNIST: see the tests."""
_ROUNDING = 1e-9
_MOST_ROUNDS = 3
"""Distillation goes on for up to twice the steps again where the first round does not suffice."""


@dataclass(frozen=True)
class Replaced:
    """A network after replacement.

    Attributes:
        network: shares no weights with the network given.
        contract: its input.
        report: what was done and what it cost.
    """

    network: fx.GraphModule
    contract: InputContract
    report: Report


def replace_network(
    network: fx.GraphModule,
    contract: InputContract,
    calibration: NDArray[np.uint8],
    train: DataSet,
    validation: DataSet,
    settings: Replace,
    *,
    seed: int,
) -> Replaced:
    """Replace every layer that a rule matches; ``network`` is not changed.

    Exact rules first. Then each learned rule's block is fitted to the outputs of the layer it replaces, on
    ``calibration``. Then the whole is distilled from ``network``, on ``train`` without its labels; for longer while
    it has lost more than ``settings.max_drop`` of validation accuracy, up to three times ``settings.distil_steps``.
    The best state seen on ``validation`` is returned. A drop that stays too large is reported (``report.accepted``),
    not undone: the layer replaced would run on the CPU.

    Args:
        network: as ``to_torch`` gives it.
        contract: its input.
        calibration: uint8 N×C×H×W, training images.
        train: images to distil on.
        validation: images for every decision.
        settings: the recipe's.
        seed: equal seeds give equal networks.

    Raises:
        NetworkError: there are no calibration images, or distillation diverges.
    """
    if not len(calibration):
        raise NetworkError("no calibration images to fit replacements on", remedy="set quantise.calibration.images")
    rules = all_rules()
    before = accuracy(network, validation, contract)
    exact = rewrite(copy.deepcopy(network), contract, [rule for rule in rules if rule.kind == "exact"])
    assert exact.contract is not None
    measured, logit_error = _compare(network, contract, exact, calibration[:_COMPARED])
    changed = any(step.taken for step in exact.steps)
    after_exact = accuracy(exact.network, validation, exact.contract) if changed else before

    learned = _learn(exact, rules, calibration, validation, settings, seed, after_exact, measured)
    result, done = learned.network, 0
    scores = Accuracy(before, after_exact, None, None, after_exact)
    fitted = any(step.taken and step.rule.kind == "learned" for step in learned.steps)
    if fitted:
        after_regression = accuracy(result, validation, exact.contract)
        scores = replace(scores, after_regression=after_regression, after=after_regression)
        teacher = nn.Sequential(Renormalise(exact.contract, contract), copy.deepcopy(network)).eval()
        scores, done = _distil(result, exact.contract, teacher, train, validation, settings, seed, scores)
    report = Report(
        layers=layers_of(network, (*exact.steps, *learned.steps), measured),
        accuracy=scores,
        max_drop=settings.max_drop,
        accepted=before - scores.after <= settings.max_drop + _ROUNDING,
        distil_steps=done,
        logit_error=logit_error,
        notes=_notes(scores, settings, changed or fitted),
    )
    return Replaced(result.eval(), exact.contract, report)


def _compare(
    network: fx.GraphModule, contract: InputContract, exact: Rewritten, images: NDArray[np.uint8]
) -> tuple[dict[str, dict[str, float]], float]:
    """Measure what the exact rules changed: at the layers where one may be inexact, and in the logits."""
    taken = [step for step in exact.steps if step.taken]
    if not taken or exact.contract is None:
        return {}, 0.0
    old, new = predict(network, images, contract), predict(exact.network, images, exact.contract)
    logit_error = float(np.abs(new - old).max() / max(float(old.std()), 1e-12))
    layers = sorted({step.layer for step in taken if step.rule.inexact})
    if not layers:
        return {}, logit_error
    wanted = record(network, layers, images, contract)
    given = record(exact.network, layers, images, exact.contract)
    return {layer: _error(given[layer], wanted[layer]) for layer in layers}, logit_error


def _error(given: Tensor, wanted: Tensor) -> dict[str, float]:
    """Root mean squares of ``given − wanted`` (N×C×H×W) over the standard deviation of ``wanted``."""
    squares = (given - wanted).square() / wanted.var()
    border = torch.ones(squares.shape[2:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return {"error": float(squares.mean().sqrt()), "error_border": float(squares[:, :, border].mean().sqrt())}


def _learn(
    exact: Rewritten,
    rules: Sequence[Rule],
    calibration: NDArray[np.uint8],
    validation: DataSet,
    settings: Replace,
    seed: int,
    accuracy_before: float,
    measured: dict[str, dict[str, float]],
) -> Rewritten:
    """Apply the learned rules, each block fitted on its own; add what was measured to ``measured``."""
    reference, contract = exact.network, exact.contract
    assert contract is not None
    scores = [accuracy_before]

    def prepare(rule: Rule, site: Site, match: Match, built: Built) -> None:
        layer, own_seed = str(site.node.target), seed + len(scores)
        read, gives = value_name(match.nodes[0].all_input_nodes[0]), value_name(match.nodes[-1])
        images = calibration[: affordable(reference, (read, gives), calibration, contract)]
        values = record(reference, (read, gives), images, contract)
        if rule.initialise is not None:
            rule.initialise(site, match, built.chain, values[read], values[gives], own_seed)
        steps = settings.regression_steps
        fitted = regress(built.chain, values[read], values[gives], steps, own_seed, f"fitting {layer}")
        measured.setdefault(layer, {}).update(error_initial=fitted.initial, error_fitted=fitted.fitted)

    def placed(layer: str, network: fx.GraphModule) -> None:
        scores.append(accuracy(network, validation, contract))
        measured[layer].update(accuracy_before=scores[-2], accuracy_after=scores[-1])

    learned = [rule for rule in rules if rule.kind == "learned"]
    return rewrite(reference, contract, learned, prepare, placed)


def _distil(
    student: fx.GraphModule,
    contract: InputContract,
    teacher: nn.Module,
    train: DataSet,
    validation: DataSet,
    settings: Replace,
    seed: int,
    scores: Accuracy,
) -> tuple[Accuracy, int]:
    """Train ``student`` in place to answer as ``teacher``, until its accuracy is back or the rounds are over.

    It is left in the best state seen. Returns the accuracies and the steps done.
    """
    best, state = scores.after, copy.deepcopy(student.state_dict())
    last, done = scores.after_distillation, 0
    for number in range(_MOST_ROUNDS if settings.distil_steps else 0):
        if number and scores.before - best <= settings.max_drop:
            break
        chosen = replace(_DISTIL, steps=settings.distil_steps)
        fit(student, train, contract, chosen, seed=seed + number, teacher=teacher, title="distilling")
        done += settings.distil_steps
        last = accuracy(student, validation, contract)
        if last > best:
            best, state = last, copy.deepcopy(student.state_dict())
    student.load_state_dict(state)
    return replace(scores, after_distillation=last, after=best), done


def _notes(scores: Accuracy, settings: Replace, changed: bool) -> tuple[str, ...]:
    """What a person should know."""
    if not changed:
        return ("nothing to replace: the network is unchanged",)
    drop = scores.before - scores.after
    if drop <= settings.max_drop + _ROUNDING:
        return ()
    return (
        f"the replacements cost {drop:.2%} of validation accuracy after {_MOST_ROUNDS} rounds of "
        f"{settings.distil_steps} steps of distillation, over replace.max_drop = {settings.max_drop:.2%}; they "
        "are kept, as the layers replaced would run on the CPU: raise replace.distil_steps, or train a network "
        "without such layers",
    )
