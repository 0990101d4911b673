"""Fitting a new block to the outputs of the layers that it replaces, over calibration images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from pipeline.network.contract import InputContract
from pipeline.progress import track
from pipeline.training.modes import evaluating

_BATCH = 32
_RATE = 3e-3
_WARMUP = 0.1
_MOST_BYTES = 256 * 2**20
"""Of the activations kept to fit one layer; a large map is fitted on fewer images, of which it has the more pixels."""
_HELD_OUT = 0.2
_LEAST_VARIANCE = 1e-8


@dataclass(frozen=True)
class Fit:
    """How well a block came to give the outputs of what it replaces.

    Errors are mean squares over the variance of each output channel, on images that the fit did not see: 1 is no
    better than the channel's mean.

    Attributes:
        initial: the error after initialisation.
        fitted: the error after regression.
        images: how many it was fitted on.
    """

    initial: float
    fitted: float
    images: int


def value_name(node: fx.Node) -> str:
    """Return what `record` calls the value of a node: the layer's name where it is a layer."""
    return str(node.target) if node.op == "call_module" else node.name


class _Recorder(fx.Interpreter):
    """Runs a network and keeps some values, no further than the last of them."""

    def __init__(self, network: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(network)
        self.names = set(names)
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if self.names <= self.found.keys():
            return None
        value = super().run_node(n)
        if value_name(n) in self.names:
            self.found[value_name(n)] = value.detach()
        return value


def record(
    network: fx.GraphModule, names: Collection[str], images: NDArray[np.uint8], contract: InputContract
) -> dict[str, Tensor]:
    """Return the values (N×C×H×W, or N×C) called ``names`` (see `value_name`) for ``images``, in evaluation mode."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    with evaluating(network), torch.no_grad():
        for start in range(0, len(images), _BATCH):
            recorder = _Recorder(network, names)
            recorder.run(torch.from_numpy(contract.normalise(images[start : start + _BATCH])))
            for name in names:
                parts[name].append(recorder.found[name])
    return {name: torch.cat(values) for name, values in parts.items()}


def affordable(
    network: fx.GraphModule, names: Collection[str], images: NDArray[np.uint8], contract: InputContract
) -> int:
    """Return how many of ``images`` can be recorded at ``names`` within the memory that a fit may use."""
    one = record(network, names, images[:1], contract)
    bytes_each = sum(value.numel() * value.element_size() for value in one.values())
    return max(1, min(len(images), _MOST_BYTES // bytes_each))


def as_maps(values: Tensor) -> Tensor:
    """Return N×C values as maps of one pixel, maps as they are."""
    return values[..., None, None] if values.ndim == 2 else values


def relative_error(given: Tensor, wanted: Tensor) -> float:
    """Return the mean square of ``given − wanted`` over the variance of ``wanted``, a channel; the channels' mean."""
    variance = wanted.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE)
    return float(((given - wanted).square().mean((0, 2, 3)) / variance).mean())


def regress(block: nn.Sequential, inputs: Tensor, outputs: Tensor, steps: int, seed: int, title: str) -> Fit:
    """Fit ``block`` in place to give ``outputs`` for ``inputs`` (N×C×H×W, or N×C): Adam on the relative error.

    The last fifth of the images measures; with fewer than five, all do both. If the fit ends worse than it began, the
    block is put back to its start. A block that gives a map of another size is measured against ``outputs`` resampled,
    and not fitted to them: its own are the better ones.
    """
    outputs, steps = _resampled(block, inputs, as_maps(outputs), steps)
    held = int(len(inputs) * _HELD_OUT)
    seen = len(inputs) - held
    unseen = slice(seen, None) if held else slice(None)
    variance = outputs.var((0, 2, 3), keepdim=True).clamp_min(_LEAST_VARIANCE)
    generator = torch.Generator().manual_seed(seed)
    initial = _error(block, inputs[unseen], outputs[unseen])
    start = {name: value.clone() for name, value in block.state_dict().items()}
    optimiser = torch.optim.Adam(block.parameters(), lr=_RATE)
    for step in track(range(steps), title):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * _cycle(step, steps)
        rows = torch.randint(seen, (min(_BATCH, seen),), generator=generator)
        loss = ((as_maps(block(inputs[rows])) - outputs[rows]).square() / variance).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    fitted = _error(block, inputs[unseen], outputs[unseen])
    if not fitted < initial:
        block.load_state_dict(start)
        fitted = initial
    return Fit(initial, fitted, seen)


def _resampled(block: nn.Sequential, inputs: Tensor, outputs: Tensor, steps: int) -> tuple[Tensor, int]:
    with evaluating(block), torch.no_grad():
        size = as_maps(block(inputs[:1])).shape[2:]
    if size == outputs.shape[2:]:
        return outputs, steps
    return functional.interpolate(outputs, size=size, mode="bilinear"), 0


def _cycle(step: int, steps: int) -> float:
    """A linear rise over the first tenth of the steps, then a linear fall to zero."""
    warmup = max(_WARMUP * steps, 1.0)
    return (step + 1) / (warmup + 1) if step < warmup else (steps - step) / (steps - warmup + 1)


def _error(block: nn.Sequential, inputs: Tensor, outputs: Tensor) -> float:
    with evaluating(block), torch.no_grad():
        given = torch.cat([as_maps(block(inputs[at : at + _BATCH])) for at in range(0, len(inputs), _BATCH)])
    return relative_error(given, outputs)
