"""Quantisation-aware training in the KPU's scheme. (Child process only.)

Only weights survive into the kmodel: nncase takes every activation range from the calibration images again, as their
minimum and maximum. So the ranges of the training graph are taken the same way, from the float network with the
weights as they are, at the start and after each part of an epoch; a range that training itself had narrowed would
promise a resolution that the kmodel does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from pipeline.quantisation.kpu_scheme import fake_quantised, range_observer, set_ranges, trained_weights
from pipeline.quantisation.settings import Settings

_RANGE_UPDATES = 4  # an epoch
_EVALUATION_BATCH = 256

Normalise = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Images:
    """Images as the child keeps them: uint8 N×H×W×C, and their labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """The outcome of quantisation-aware training.

    Attributes:
        accuracy_before: fake-quantised, on validation, with the weights as given: what PTQ will give.
        accuracy: the same with the weights of the best epoch, which are in the model now.
        epochs: loss and validation accuracy of each epoch.
        diverged: why training stopped early, or "".
    """

    accuracy_before: float
    accuracy: float
    epochs: list[dict[str, float]]
    diverged: str


def train(
    model: Any,
    data: Images,
    validation: Images,
    calibration: NDArray[np.uint8],
    normalise: Normalise,
    settings: Settings,
    note: Callable[[str], None],
) -> Trained:
    """Fine-tune the lifted ``model`` (in place) on fake-quantised weights and activations.

    Args:
        normalise: of uint8 N×H×W×C images to the network's float32 input.
        note: called with a line of progress.
    """
    inputs, observe = normalise(calibration), range_observer(model)
    quantised = fake_quantised(model)
    set_ranges(quantised, observe(inputs))
    evaluate = _evaluator(quantised)
    before = _accuracy(evaluate, validation, normalise)
    if settings.epochs == 0:
        return Trained(before, before, [], "")
    note(f"fake-quantised accuracy before training {before:.4f}")
    teacher = _predict(_evaluator(model), data.images, normalise)
    steps = len(data.images) // min(settings.batch, len(data.images))
    optimiser = tf_keras.optimizers.Adam(
        tf_keras.optimizers.schedules.CosineDecay(settings.lr, steps * settings.epochs), clipnorm=1.0
    )
    step = _step(quantised, optimiser, settings)
    order = np.random.default_rng(settings.seed)
    best, best_weights = -1.0, trained_weights(quantised)
    epochs: list[dict[str, float]] = []
    for epoch in range(settings.epochs):
        losses = []
        batches = np.array_split(order.permutation(len(data.images))[: steps * (len(data.images) // steps)], steps)
        for number, chosen in enumerate(batches):
            images = normalise(data.images[chosen])
            losses.append(float(step(images, data.labels[chosen], teacher[chosen])))
            if not np.isfinite(losses[-1]):
                reason = f"the loss became {losses[-1]} in step {number + 1} of epoch {epoch + 1}"
                _restore(model, best_weights)
                return Trained(before, best if epochs else before, epochs, reason)
            if (number + 1) % max(1, steps // _RANGE_UPDATES) == 0 or number + 1 == steps:
                _restore(model, trained_weights(quantised))
                set_ranges(quantised, observe(inputs))
                note(f"epoch {epoch + 1} of {settings.epochs}, step {number + 1} of {steps}, loss {losses[-1]:.4f}")
        accuracy = _accuracy(evaluate, validation, normalise)
        epochs.append({"loss": float(np.mean(losses)), "accuracy": accuracy})
        if accuracy > best:
            best, best_weights = accuracy, trained_weights(quantised)
    _restore(model, best_weights)
    return Trained(before, best, epochs, "")


def _step(quantised: Any, optimiser: Any, settings: Settings) -> Any:
    """One step of training as a TensorFlow function that returns the loss."""
    variables = quantised.trainable_variables
    optimiser.build(variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(images: Any, labels: Any, teacher: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = quantised(images, training=True)
            hard = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            target = tf.nn.softmax(teacher / settings.temperature)
            soft = tf.nn.softmax_cross_entropy_with_logits(target, logits / settings.temperature)
            soft *= settings.temperature**2
            loss = tf.reduce_mean(settings.distil * soft + (1 - settings.distil) * hard)
        gradients = tape.gradient(loss, variables)
        optimiser.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return step


def _evaluator(model: Any) -> Any:
    return tf.function(lambda images: model(images, training=False), reduce_retracing=True)


def _predict(evaluate: Any, images: NDArray[np.uint8], normalise: Normalise) -> NDArray[np.float32]:
    starts = range(0, len(images), _EVALUATION_BATCH)
    parts = [evaluate(normalise(images[start : start + _EVALUATION_BATCH])).numpy() for start in starts]
    return np.concatenate(parts)


def _accuracy(evaluate: Any, data: Images, normalise: Normalise) -> float:
    logits = _predict(evaluate, data.images, normalise)
    return float(np.mean(logits.reshape(len(logits), -1).argmax(axis=1) == data.labels))


def _restore(model: Any, weights: dict[str, list[Any]]) -> None:
    for name, values in weights.items():
        model.get_layer(name).set_weights(values)
