"""What the search may choose: channels a group, rules, activation, calibration, quantisation, effort."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from torch import fx

from pipeline.network.contract import InputContract
from pipeline.pruning.groups import Group
from pipeline.pruning.prune import MINIMUM_CHANNELS
from pipeline.recipe import Prune, Quantise, Replace
from pipeline.replacement.prefer import rivals
from pipeline.replacement.swapped import swappable

Params = Mapping[str, Any]
"""A value for each name of a space."""

_KEEP, _RULE = "keep.", "rule."
_LEAST_IMAGES, _MOST_IMAGES = 64, 512


@dataclass(frozen=True)
class Settings:
    """One candidate, as sections of a recipe."""

    prune: Prune | None
    replace: Replace
    quantise: Quantise


@dataclass(frozen=True)
class Space:
    """What there is to choose from.

    Attributes:
        base: the recipe's own settings, which every candidate starts from.
        dimensions: by name, integers and floats as such, never as categories; only names are categories.
    """

    base: Settings
    dimensions: Mapping[str, BaseDistribution]

    @property
    def identity(self) -> str:
        """A hash of all that it holds."""
        sections = [self.base.prune, self.base.replace, self.base.quantise]
        held = {
            "base": [section.model_dump(mode="json") if section else None for section in sections],
            "dimensions": {name: distribution_to_json(found) for name, found in self.dimensions.items()},
        }
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def space_of(
    network: fx.GraphModule, contract: InputContract, groups: Sequence[Group], base: Settings, train_images: int
) -> Space:
    """Return the space of a network: what it has a choice in, around the recipe's own settings.

    Args:
        network: trained, before pruning.
        contract: its input.
        groups: whose channels may be pruned.
        base: the recipe's own settings. What it does not do at all (``prune: null``, ``method: ptq``) is not searched.
        train_images: from which calibration images can be taken.
    """
    found: dict[str, BaseDistribution] = {}
    if base.prune is not None:
        for group in groups:
            found[_KEEP + group.name] = IntDistribution(min(MINIMUM_CHANNELS, group.channels), group.channels)
        if base.prune.finetune.epochs:
            epochs, lr = base.prune.finetune.epochs, base.prune.finetune.lr
            found["epochs"] = IntDistribution(math.ceil(epochs / 2), 2 * epochs)
            found["lr"] = FloatDistribution(lr / 3, lr * 3, log=True)
    for layer, names in rivals(network, contract).items():
        found[_RULE + layer] = CategoricalDistribution(names)
    if swappable(network):
        found["activation"] = CategoricalDistribution(("keep", "relu6", "leaky-relu"))
    if (most := min(_MOST_IMAGES, train_images)) > _LEAST_IMAGES:
        found["calibration_images"] = IntDistribution(_LEAST_IMAGES, most, log=True)
    if base.quantise.finetune is not None and base.quantise.finetune.epochs and base.quantise.method != "ptq":
        if base.quantise.method == "auto":
            found["method"] = CategoricalDistribution(("ptq", "qat"))
        found["qat_epochs"] = IntDistribution(1, 2 * base.quantise.finetune.epochs)
    return Space(base, found)


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Ask the sampler for a candidate; what plain quantisation has no use for is not asked for."""
    params: dict[str, Any] = {}
    for name, distribution in space.dimensions.items():
        if name == "qat_epochs" and params.get("method") == "ptq":
            continue
        params[name] = _ask(trial, name, distribution)
    return params


def _ask(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


def own_params(space: Space) -> dict[str, Any]:
    """Return the recipe's own settings as a point of the space, nothing pruned."""
    base, point = space.base, {}
    for name, distribution in space.dimensions.items():
        if isinstance(distribution, CategoricalDistribution):
            point[name] = distribution.choices[0]
        elif name.startswith(_KEEP) and isinstance(distribution, IntDistribution):
            point[name] = distribution.high
    if base.prune is not None and "epochs" in space.dimensions:
        point |= {"epochs": base.prune.finetune.epochs, "lr": base.prune.finetune.lr}
    if "calibration_images" in space.dimensions:
        point["calibration_images"] = min(max(base.quantise.calibration.images, _LEAST_IMAGES), _MOST_IMAGES)
    if "method" in space.dimensions:
        point["method"] = "ptq"
    elif "qat_epochs" in space.dimensions and base.quantise.finetune is not None:
        point["qat_epochs"] = base.quantise.finetune.epochs
    return point


def keeping(space: Space, channels: Mapping[str, int]) -> dict[str, int]:
    """Return the part of a point that says how many channels each group keeps, within the space."""
    part = {}
    for name, distribution in space.dimensions.items():
        if name.startswith(_KEEP) and isinstance(distribution, IntDistribution):
            part[name] = min(max(channels[name.removeprefix(_KEEP)], distribution.low), distribution.high)
    return part


def settings_of(params: Params, space: Space) -> Settings:
    """Return a point of the space as the sections of a recipe."""
    base = space.base
    prune = base.prune
    if prune is not None:
        keep = {name.removeprefix(_KEEP): value for name, value in params.items() if name.startswith(_KEEP)}
        finetune = prune.finetune.model_copy(
            update={"epochs": params.get("epochs", prune.finetune.epochs), "lr": params.get("lr", prune.finetune.lr)}
        )
        prune = prune.model_copy(update={"keep": keep, "finetune": finetune})
    prefer = {name.removeprefix(_RULE): value for name, value in params.items() if name.startswith(_RULE)}
    replace = base.replace.model_copy(
        update={
            "prefer": {**base.replace.prefer, **prefer},
            "activation": params.get("activation", base.replace.activation),
        }
    )
    quantise = base.quantise
    method = params.get("method", quantise.method)
    images = params.get("calibration_images", quantise.calibration.images)
    update: dict[str, Any] = {
        "method": method,
        "calibration": quantise.calibration.model_copy(update={"images": images}),
    }
    if quantise.finetune is not None:
        epochs = params.get("qat_epochs", quantise.finetune.epochs)
        update["finetune"] = quantise.finetune.model_copy(update={"epochs": epochs})
    return Settings(prune, replace, quantise.model_copy(update=update))
