"""The training loop: SGD with Nesterov momentum under a one-cycle schedule, from labels, a teacher, or both.

Equal seeds, data, settings and numbers of threads give equal weights: the order of images and every augmentation come
from one generator of their own, and torch's global one (dropout) is set for the length of the call and put back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import NetworkError
from pipeline.network.contract import InputContract
from pipeline.progress import track
from pipeline.training.augment import Augmentation, augment
from pipeline.training.data.sets import DataSet
from pipeline.training.features import feature_loss, watching
from pipeline.training.modes import evaluating

_MOMENTUM = 0.9
_WARMUP = 0.15  # of all steps: the learning rate rises to its peak
_LEAST_VARIANCE = 1e-8
_LARGEST_GRADIENT = 5.0  # norm over all weights; a bad batch then cannot throw a trained network away


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        epochs: passes over the training images.
        lr: the peak learning rate.
        batch: images a step.
        steps: trains for so many steps instead of ``epochs``.
        weight_decay: on kernels, not on biases and BatchNorm.
        augment: random changes to the images.
        label_smoothing: share of each label spread over all classes.
        distil_weight: share of the loss that the teacher gives; the labels give the rest.
        distil_temperature: the softmax temperature at which student and teacher are compared.
        feature_weight: of the loss of features, where some are to be learnt, beside a weight of 1 for all else.
    """

    epochs: int
    lr: float
    batch: int = 64
    steps: int | None = None
    weight_decay: float = 5e-4
    augment: tuple[Augmentation, ...] = ()
    label_smoothing: float = 0.0
    distil_weight: float = 0.9
    distil_temperature: float = 4.0
    feature_weight: float = 1.0


@dataclass(frozen=True)
class FitResult:
    """What training came to.

    Attributes:
        steps: optimiser steps done.
        losses: the mean loss of each epoch (the last one perhaps part of an epoch).
    """

    steps: int
    losses: tuple[float, ...]


def fit(
    graph: nn.Module,
    train: DataSet,
    contract: InputContract,
    settings: FitSettings,
    *,
    seed: int,
    teacher: nn.Module | None = None,
    features: Mapping[str, str] | None = None,
    title: str = "training",
) -> FitResult:
    """Train ``graph`` in place.

    Args:
        graph: images (normalised float32 N×C×H×W) to logits. Left in the mode that it came in.
        train: the images to learn from.
        contract: how images are normalised.
        settings: how to train.
        seed: of order, augmentation and dropout.
        teacher: a network whose logits are learnt as well; not changed.
        features: layers of ``graph`` that are to give what layers of the teacher give, by the names of both.
        title: of the progress bar.

    Raises:
        NetworkError: the loss or a weight is no longer a finite number (remedy: a lower learning rate).
    """
    batch = min(settings.batch, len(train))
    an_epoch = max(len(train) // batch, 1)
    total = settings.steps if settings.steps is not None else settings.epochs * an_epoch
    losses: list[float] = []
    if total == 0:
        return FitResult(0, ())
    optimiser = _optimiser(graph, settings)
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    normalise = _Normaliser.of(contract)
    pairs = features or {}
    was = {module: module.training for module in graph.modules()}
    graph.train()
    try:
        with (
            torch.random.fork_rng(devices=[]),
            evaluating(teacher or nn.Identity()),
            watching(graph, pairs.keys()) as own,
            watching(teacher or nn.Identity(), set(pairs.values())) as wanted,
        ):
            torch.manual_seed(seed)
            rows = _batches(len(train), batch, total, generator)
            for step, chosen in enumerate(track(rows, title, total=total)):
                inputs = normalise(augment(images[chosen], settings.augment, generator))
                for group in optimiser.param_groups:
                    group["lr"] = settings.lr * schedule(step, total)
                loss = _loss(graph(inputs), labels[chosen], inputs, teacher, settings)
                if pairs:
                    loss = loss + settings.feature_weight * feature_loss(own, wanted, pairs)
                losses.append(_finite(loss, step))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(graph.parameters(), _LARGEST_GRADIENT)
                optimiser.step()
    finally:
        for module, flag in was.items():
            module.training = flag
    if not all(bool(torch.isfinite(weight).all()) for weight in graph.parameters()):
        raise _diverged("weights are no longer finite", len(losses))
    epochs = [losses[start : start + an_epoch] for start in range(0, len(losses), an_epoch)]
    return FitResult(len(losses), tuple(sum(epoch) / len(epoch) for epoch in epochs))


def schedule(step: int, total: int) -> float:
    """Return the learning rate of ``step`` (of ``total``) as a share of its peak.

    It rises linearly over the first 15 %, then falls as half a cosine to nearly zero (one cycle; Smith & Topin,
    arXiv 1708.07120; the cosine from Loshchilov & Hutter, arXiv 1608.03983).
    """
    warmup = max(_WARMUP * total, 1.0)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1.0)))


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback–Leibler divergence of softened softmaxes × temperature² (Hinton et al., arXiv 1503.02531, §2)."""
    log_student = functional.log_softmax(student / temperature, dim=1)
    log_teacher = functional.log_softmax(teacher / temperature, dim=1)
    divergence = functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


@dataclass(frozen=True)
class _Normaliser:
    """`InputContract.normalise` on torch tensors, as one multiplication and addition."""

    scale: Tensor
    offset: Tensor

    @classmethod
    def of(cls, contract: InputContract) -> _Normaliser:
        mean, std = torch.tensor(contract.mean).view(1, -1, 1, 1), torch.tensor(contract.std).view(1, -1, 1, 1)
        return cls(1 / (255 * std), -mean / std)

    def __call__(self, images: Tensor) -> Tensor:
        return images.float() * self.scale + self.offset


def _optimiser(graph: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    trained = [weight for weight in graph.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in trained if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.lr, momentum=_MOMENTUM, nesterov=True)


def _batches(count: int, batch: int, total: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield ``total`` batches of rows; each pass over all rows is shuffled anew and leaves out a last, short batch."""
    done = 0
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - batch + 1, batch):
            if done == total:
                return
            yield order[start : start + batch]
            done += 1


def likeness_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    """Mean square difference over the variance of the teacher's outputs, for networks that name no classes."""
    pairs = zip(student, teacher, strict=True)
    return torch.stack([(a - b).square().mean() / b.var().clamp_min(_LEAST_VARIANCE) for a, b in pairs]).mean()


def _loss(
    outputs: Tensor | tuple[Tensor, ...],
    labels: Tensor,
    inputs: Tensor,
    teacher: nn.Module | None,
    settings: FitSettings,
) -> Tensor:
    logits = outputs if isinstance(outputs, Tensor) and outputs.ndim == 2 else None
    learnt: Tensor | None = None
    if teacher is not None:
        with torch.no_grad():
            target = teacher(inputs)
        if logits is None:
            return likeness_loss(_several(outputs), _several(target))
        learnt = distillation_loss(logits, target, settings.distil_temperature)
        if settings.distil_weight >= 1:
            return learnt
    if logits is None:
        raise NetworkError("only a network with one output of N×classes can be trained from labels")
    loss = functional.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
    return loss if learnt is None else settings.distil_weight * learnt + (1 - settings.distil_weight) * loss


def _several(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _finite(loss: Tensor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _diverged(f"the loss is {value}", step + 1)
    return value


def _diverged(what: str, step: int) -> NetworkError:
    return NetworkError(
        f"training diverged: {what} at step {step}",
        where="lr",
        remedy="set a lower learning rate (train.lr or finetune.lr), a tenth of it at first",
    )
