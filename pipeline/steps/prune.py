"""A network pruned as a recipe asks, and fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import fx

from pipeline.kpu.prediction import VERSIONS
from pipeline.network.contract import InputContract
from pipeline.network.trace import trace
from pipeline.pruning.prune import PruneResult, PruneSettings, prune_network
from pipeline.recipe import Finetune, Prune, Replace, Train
from pipeline.steps.predicted import predicted_bytes
from pipeline.training.data.sets import Training
from pipeline.training.loop import FitSettings, fit

#: The prediction is exact on the all-KPU networks that were compiled (tests/kpu); the margin is for all others.
_PREDICTION_MARGIN = 0.01


@dataclass(frozen=True)
class Pruned:
    """A network after pruning.

    Attributes:
        network: fine-tuned; the given one itself where nothing was to be pruned.
        result: what went; None where the recipe prunes nothing.
        budget: bytes that were to be met.
    """

    network: fx.GraphModule
    result: PruneResult | None
    budget: int


def prune(
    network: fx.GraphModule,
    contract: InputContract,
    data: Training,
    settings: Prune | None,
    *,
    replace: Replace,
    train: Train | None,
    budget: int,
    seed: int,
) -> Pruned:
    """Remove channels until the predicted kmodel meets the budget, or to the counts given; then learn again.

    Args:
        network: trained; not changed.
        contract: its input.
        data: training images to weigh channels and to learn on.
        settings: the recipe's; None prunes nothing.
        replace: how it will be replaced, which its bytes depend on.
        train: how it was trained, which fine-tuning follows; None for an imported network.
        budget: bytes that the target leaves, for ``to_bytes: auto``.
        seed: equal seeds give equal networks.

    Raises:
        RecipeError: ``keep`` names a group that the network has not, or more channels than it has.
        NetworkError: fine-tuning diverges.
    """
    if settings is None:
        return Pruned(network, None, budget)
    budget = budget if settings.to_bytes == "auto" else settings.to_bytes
    how = PruneSettings(int(budget * (1 - _PREDICTION_MARGIN)), settings.importance, keep=settings.keep)
    # Solved for the largest version, so that the same recipe gives the same network whatever the firmware loads.
    predict = partial(predicted_bytes, contract=contract, versions=VERSIONS, settings=replace)
    result = prune_network(network, data.train, contract, how, predict, seed=seed)
    pruned = trace(result.network)
    if result.ratio > 0:
        teacher = network if settings.finetune.distil else None
        how_long = finetune_settings(settings.finetune, train)
        fit(pruned, data.train, contract, how_long, seed=seed, teacher=teacher, title="prune")
    return Pruned(pruned, result, budget)


def finetune_settings(finetune: Finetune, train: Train | None) -> FitSettings:
    """Return how to fine-tune: as the network was trained, but for fewer epochs at a lower rate."""
    return FitSettings(
        epochs=finetune.epochs,
        lr=finetune.lr,
        batch=train.batch if train else FitSettings.batch,
        weight_decay=train.weight_decay if train else FitSettings.weight_decay,
        augment=tuple(train.augment) if train else (),
    )
