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
from pipeline.replacement.candidates import GIVEN_UP, Candidates
from pipeline.replacement.distil import distil, shared_features
from pipeline.replacement.judge import Judge, answers, by_labels
from pipeline.replacement.prefer import preferred_rules
from pipeline.replacement.regression import record
from pipeline.replacement.report import Accuracy, Report, layers_of
from pipeline.replacement.rewrite import Rewritten, rewrite
from pipeline.replacement.rule import Rule
from pipeline.replacement.rules import all_rules
from pipeline.replacement.rules.normalisation import Renormalise
from pipeline.replacement.swapped import with_activation
from pipeline.training.data.sets import DataSet

_COMPARED = 64
"""Images on which exact rules are compared with what they replace."""
_ROUNDING = 1e-9
_MOST_ATTEMPTS = 5
"""With one, two, four and eight more replacements given up each time."""


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
    judge: Judge | None = None,
    rules: Sequence[Rule] | None = None,
    must_replace: bool = False,
) -> Replaced:
    """Replace every layer that a rule matches; ``network`` is not changed.

    Exact rules first. Then each learned rule's block is fitted to the outputs of the layer it replaces, on
    ``calibration``; where several rules match, the best is taken (`Candidates`). Then the whole is distilled from
    ``network``, on ``train`` without its labels; for longer while it has lost more than half of ``settings.max_drop``
    of validation accuracy, up to three times ``settings.distil_steps``; the best state seen on ``validation`` counts.
    If it has still lost more than ``settings.max_drop``, the replacement that cost most gives way to the layer's next
    candidate, or to the layer itself; then two, then four, each time distilled anew.

    Args:
        network: as ``to_torch`` gives it.
        contract: its input.
        calibration: uint8 N×C×H×W, training images.
        train: images to distil on.
        validation: images for every decision.
        settings: the recipe's.
        seed: equal seeds give equal networks.
        judge: measures a network; by the labels of ``validation`` unless given.
        rules: what may be replaced; every rule there is unless given.
        must_replace: whether no layer is left as it was for what its replacements cost, as no kmodel could hold it.

    Raises:
        NetworkError: there are no calibration images, or distillation diverges.
        RecipeError: a rule preferred is none.
    """
    if not len(calibration):
        raise NetworkError("no calibration images to fit replacements on", remedy="set quantise.calibration.images")
    judge = judge or by_labels(validation)
    rules = all_rules() if rules is None else rules
    prefer = preferred_rules(settings.prefer)
    start, swapped = with_activation(network, settings.activation)
    exact = rewrite(copy.deepcopy(start), contract, [rule for rule in rules if rule.kind == "exact"], prefer=prefer)
    assert exact.contract is not None
    measured, logit_error = _compare(start, contract, exact, calibration[:_COMPARED])
    before = judge(network, contract)
    changed = bool(swapped) or any(step.taken for step in exact.steps)
    after_exact = judge(exact.network, exact.contract) if changed else before

    candidates = Candidates(
        exact.network, exact.contract, calibration, judge, settings, seed, after_exact, must_replace=must_replace
    )
    teacher = nn.Sequential(Renormalise(exact.contract, contract), copy.deepcopy(network)).eval()
    best: tuple[fx.GraphModule, Rewritten, Accuracy, dict[str, dict[str, float]]] | None = None
    done = 0
    for attempt in range(_MOST_ATTEMPTS):
        candidates.begin()
        learned = rewrite(
            exact.network,
            exact.contract,
            [rule for rule in rules if rule.kind == "learned"],
            candidates.choose,
            candidates.placed,
            prefer,
        )
        result, scores = learned.network, Accuracy(before, after_exact, None, None, after_exact)
        if candidates.placed_accuracy or swapped:
            result = copy.deepcopy(result)
            after_regression = judge(result, exact.contract)
            scores = replace(scores, after_regression=after_regression, after=after_regression)
            ends = [step.becomes[-1] for step in learned.steps if step.taken and step.becomes]
            features = shared_features(result, teacher, "1.", ends, exact.contract)
            scores, steps = distil(result, exact.contract, teacher, features, train, judge, settings, seed, scores)
            done += steps
        if best is None or scores.after > best[2].after:
            best = result, learned, scores, copy.deepcopy(candidates.measured)
        if before - scores.after <= settings.max_drop + _ROUNDING or not candidates.give_up(2**attempt):
            break
    assert best is not None
    result, learned, scores, numbers = best
    for layer, found in numbers.items():
        measured.setdefault(layer, {}).update(found)
    report = Report(
        layers=layers_of(network, (*exact.steps, *learned.steps), measured),
        accuracy=scores,
        max_drop=settings.max_drop,
        accepted=before - scores.after <= settings.max_drop + _ROUNDING,
        distil_steps=done,
        logit_error=logit_error,
        notes=(*_swapped_notes(swapped, settings), *_notes(scores, settings, learned, changed)),
    )
    return Replaced(result.eval(), exact.contract, report)


def _compare(
    network: fx.GraphModule, contract: InputContract, exact: Rewritten, images: NDArray[np.uint8]
) -> tuple[dict[str, dict[str, float]], float]:
    """Measure what the exact rules changed: at the layers where one may be inexact, and in the logits."""
    taken = [step for step in exact.steps if step.taken]
    if not taken or exact.contract is None:
        return {}, 0.0
    pairs = zip(answers(network, images, contract), answers(exact.network, images, exact.contract), strict=True)
    logit_error = max(float((new - old).abs().max() / old.std().clamp_min(1e-12)) for old, new in pairs)
    there = {str(node.target) for node in exact.network.graph.nodes}  # some are merged into others
    layers = sorted({step.layer for step in taken if step.rule.inexact} & there)
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


def _swapped_notes(swapped: tuple[str, ...], settings: Replace) -> tuple[str, ...]:
    names = ", ".join(swapped)
    return (f"activations exchanged for {settings.activation} (replace.activation): {names}",) if swapped else ()


def _notes(scores: Accuracy, settings: Replace, learned: Rewritten, changed: bool) -> tuple[str, ...]:
    """What a person should know."""
    given_up = sorted({step.layer for step in learned.steps if not step.taken and step.why.startswith(GIVEN_UP)})
    kept = [layer for layer in given_up if not any(step.taken and step.layer == layer for step in learned.steps)]
    notes = []
    if kept:
        notes.append(
            f"left as they were, as every replacement cost more than replace.max_drop = "
            f"{settings.max_drop:.2%} of validation accuracy: {', '.join(kept)}; raise replace.distil_steps or "
            "replace.max_drop, or train a network without such layers"
        )
    drop = scores.before - scores.after
    if drop > settings.max_drop + _ROUNDING:
        notes.append(
            f"the replacements cost {drop:.2%} of validation accuracy, over replace.max_drop = {settings.max_drop:.2%}"
        )
    if not notes and not changed and not any(step.taken for step in learned.steps):
        notes.append("nothing to replace: the network is unchanged")
    return tuple(notes)
