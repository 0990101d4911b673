"""Another activation in the place of every ReLU of a network, as a recipe or the search may ask."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Literal

from torch import fx, nn

Activation = Literal["keep", "relu", "relu6", "leaky-relu"]

_SLOPE = 0.1  # Darknet's, and YOLO's on the K210; 0.01 would give negative values less than one code of uint8

_MADE: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky-relu": lambda: nn.LeakyReLU(_SLOPE),
}


def swappable(network: fx.GraphModule) -> tuple[str, ...]:
    """Return the names of the activations that ``with_activation`` would exchange."""
    return tuple(name for name, module in network.named_modules() if _kind(module) is not None)


def with_activation(network: fx.GraphModule, activation: Activation) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """Return a copy of ``network`` with ``activation`` for every ReLU, ReLU6 and LeakyReLU, and the layers changed.

    The network must learn again; nothing changes, and nothing is copied, where all are of that kind or it is "keep".
    """
    changed = () if activation == "keep" else tuple(
        name for name in swappable(network) if _kind(network.get_submodule(name)) != activation
    )  # fmt: skip
    if not changed:
        return network, ()
    swapped = copy.deepcopy(network)
    for name in changed:
        swapped.set_submodule(name, _MADE[activation]())
    return swapped, changed


def _kind(module: nn.Module) -> str | None:
    """Which of the three a module is; a clamp of other bounds is none of them."""
    if isinstance(module, nn.LeakyReLU):
        return "leaky-relu"
    if isinstance(module, nn.ReLU):
        return "relu"
    if isinstance(module, nn.Hardtanh) and module.min_val == 0:
        return {6.0: "relu6", float("inf"): "relu"}.get(float(module.max_val))
    return None
