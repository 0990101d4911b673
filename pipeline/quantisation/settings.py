"""How to quantise: what the caller chooses and the child process is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How to quantise.

    Attributes:
        epochs: passes over the training images in quantisation-aware training; 0 for none.
        lr: Adam's learning rate at the start of its cosine decay.
        batch: training images a step.
        distil: weight of the float network's outputs against the labels in the loss, 0 to 1.
        temperature: what logits are divided by where the two networks are compared.
        seed: of the order of the training images.
        equalise: whether weights are equalised across layers first.
        silence_s: seconds without a sign of life after which the child process is taken to hang.
        memory_bytes: address space that the child process may map (TensorFlow maps far more than it uses).
        threads: that TensorFlow computes with; 0 for one a core.
    """

    epochs: int = 1
    lr: float = 3e-4
    batch: int = 64
    distil: float = 0.9
    temperature: float = 2.0
    seed: int = 0
    equalise: bool = True
    silence_s: float = 600.0
    memory_bytes: int = 16 * 2**30
    threads: int = 0
