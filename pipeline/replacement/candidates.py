"""Which of several learned replacements a layer gets: each is fitted, measured in its place, and the best one taken."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from pipeline.network.contract import InputContract
from pipeline.recipe import Replace
from pipeline.replacement.cost import Cost, chain_cost
from pipeline.replacement.judge import Judge
from pipeline.replacement.regression import Fit, affordable, record, regress, value_name
from pipeline.replacement.rewrite import Candidate, Choice, share, splice

GIVEN_UP = "given up"
"""Begins the reason of a replacement that was taken out again."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Fitted:
    """A replacement with its weights, and what it was measured to cost.

    Attributes:
        rule: name of its rule.
        weights: of its chain.
        fit: its error over calibration images.
        cost: predicted for its chain.
        accuracy: the network's with it in its place, before distillation; None where nothing else was to be compared.
    """

    rule: str
    weights: dict[str, Tensor]
    fit: Fit
    cost: Cost
    accuracy: float | None


class Candidates:
    """The choice of learned replacements for one network.

    Every candidate of a layer is fitted once to the outputs of the layers that it replaces, on calibration images.
    Of several, those whose accuracy stays within ``max_drop`` of the network before it are ranked by the CPU's
    layers, cycles and bytes, and by their error where these are equal; then come the others by accuracy. ``give_up``
    moves a layer on to its next candidate, and behind the last one leaves it as it was, unless it ``must_replace``.

    Attributes:
        measured: numbers for the report, by layer.
        placed_accuracy: what each layer's replacement cost of accuracy, in the last run.
    """

    def __init__(
        self,
        reference: fx.GraphModule,
        contract: InputContract,
        calibration: NDArray[np.uint8],
        judge: Judge,
        settings: Replace,
        seed: int,
        accuracy: float,
        *,
        must_replace: bool = False,
    ) -> None:
        self.reference, self.contract, self.calibration = reference, contract, calibration
        self.judge, self.settings, self.seed = judge, settings, seed
        self.must_replace = must_replace
        self.measured: dict[str, dict[str, float]] = {}
        self.placed_accuracy: dict[str, float] = {}
        self._start = self._accuracy = accuracy
        self._ranking: dict[str, list[Fitted]] = {}
        self._given_up: dict[str, int] = {}

    def begin(self) -> None:
        """Prepare for a run over the network from its start."""
        self._accuracy, self.placed_accuracy = self._start, {}

    def choose(self, candidates: Sequence[Candidate]) -> Choice:
        """Return the layer's best candidate that was not given up, its weights set."""
        layer = candidates[0].layer
        if layer not in self._ranking:
            self._ranking[layer] = self._rank(candidates)
        by_rule = {candidate.rule.name: candidate for candidate in candidates}
        ranking = [fitted for fitted in self._ranking[layer] if fitted.rule in by_rule]
        given_up = self._given_up.get(layer, 0)
        why = [(by_rule[fitted.rule].rule, _why(fitted, at < given_up)) for at, fitted in enumerate(ranking)]
        if given_up >= len(ranking):
            self.measured.pop(layer, None)
            return Choice(None, tuple(why))
        best = ranking[given_up]
        taken = by_rule[best.rule]
        taken.built.chain.load_state_dict(best.weights)
        self.measured[layer] = {
            "error_initial": best.fit.initial,
            "error_fitted": best.fit.fitted,
            "kmodel_bytes": best.cost.kmodel_bytes,
            "cycles": best.cost.cycles,
        }
        return Choice(taken, tuple((rule, text) for rule, text in why if rule is not taken.rule))

    def placed(self, layer: str, network: fx.GraphModule) -> None:
        """Measure what a replacement cost, once it is in."""
        now = self.judge(network, self.contract)
        self.measured[layer].update(accuracy_before=self._accuracy, accuracy_after=now)
        self.placed_accuracy[layer] = self._accuracy - now
        self._accuracy = now

    def give_up(self, count: int) -> bool:
        """Move the ``count`` layers whose replacement cost most on to their next candidate; whether there were any."""
        movable = [layer for layer in self.placed_accuracy if not (self.must_replace and self._is_last(layer))]
        worst = sorted(movable, key=lambda layer: -self.placed_accuracy[layer])[:count]
        for layer in worst:
            self._given_up[layer] = self._given_up.get(layer, 0) + 1
        return bool(worst)

    def _is_last(self, layer: str) -> bool:
        return self._given_up.get(layer, 0) + 1 >= len(self._ranking[layer])

    def _rank(self, candidates: Sequence[Candidate]) -> list[Fitted]:
        number = self.seed + len(self._ranking) + 1
        fitted = [self._fit(candidate, number, alone=len(candidates) == 1) for candidate in candidates]
        if len(fitted) == 1:
            return fitted

        def order(each: Fitted) -> tuple[float, ...]:
            assert each.accuracy is not None
            within = self._accuracy - each.accuracy <= self.settings.max_drop + _ROUNDING
            price = (float(len(each.cost.cpu)), float(each.cost.cycles), float(each.cost.kmodel_bytes))
            return (0.0, *price, each.fit.fitted) if within else (1.0, -each.accuracy, *price[1:])

        return sorted(fitted, key=order)

    def _fit(self, candidate: Candidate, seed: int, *, alone: bool) -> Fitted:
        chain = candidate.built.chain
        inputs, outputs = self._values(candidate)
        if candidate.rule.initialise is not None:
            candidate.rule.initialise(candidate.site, candidate.match, chain, inputs, outputs, seed)
        title = f"fitting {candidate.layer}" if alone else f"fitting {candidate.layer} ({candidate.rule.name})"
        fit = regress(chain, inputs, outputs, self.settings.regression_steps, seed, title)
        return Fitted(
            candidate.rule.name,
            copy.deepcopy(chain.state_dict()),
            fit,
            chain_cost(chain, inputs.shape[1:]),
            None if alone else self._in_place(candidate),
        )

    def _values(self, candidate: Candidate) -> tuple[Tensor, Tensor]:
        """Return what a replacement reads, and what it should give, over as many images as memory allows.

        It reads what the layers replaced before it give now, so that it makes good some of their error. It should give
        what the network before all learned replacements does, where that has the value and in the same size.
        """
        network, match = candidate.site.network, candidate.match
        read, gives = value_name(match.nodes[0].all_input_nodes[0]), value_name(match.nodes[-1])
        images = self.calibration[: affordable(network, (read, gives), self.calibration, self.contract)]
        values = record(network, (read, gives), images, self.contract)
        if gives in {value_name(node) for node in self.reference.graph.nodes}:
            wanted = record(self.reference, (gives,), images, self.contract)[gives]
            if wanted.shape == values[gives].shape:
                return values[read], wanted
        return values[read], values[gives]

    def _in_place(self, candidate: Candidate) -> float:
        """Return the accuracy with a candidate in its place, and take it out again."""
        trial = share(candidate.site.network)
        by_name = {node.name: node for node in trial.graph.nodes}
        splice(trial, [by_name[node.name] for node in candidate.match.nodes], copy.deepcopy(candidate.built.chain))
        trial.recompile()
        with torch.no_grad():
            return self.judge(trial, self.contract)


def _why(fitted: Fitted, given_up: bool) -> str:
    """Say why a candidate was not taken."""
    numbers = f"{fitted.cost.cycles:,} cycles, {fitted.cost.kmodel_bytes:,} bytes"
    if fitted.accuracy is not None:
        numbers = f"accuracy {fitted.accuracy:.2%} in its place before distillation, {numbers}"
    return f"{GIVEN_UP}, as it cost too much accuracy: {numbers}" if given_up else f"another was better: {numbers}"
