"""Names of layers: the ONNX node's name, made into a Python identifier, unique, and the same after every round trip.

A layer's name is the ONNX node name, the attribute of the ``GraphModule`` and the prefix of its weights
(``stem.weight``), so that a report, Netron and a state dict speak of the same layer.
"""

from __future__ import annotations

import keyword
import re

from torch import nn

INPUT = "image"
"""The name of the one input of a network that kpufit writes."""

OUTPUT = "logits"
"""The name of its output; several outputs are ``logits_0``, ``logits_1`` and so on."""

_NOT_IN_A_NAME = re.compile(r"\W+", re.ASCII)
_MODULE_ATTRIBUTES = frozenset(dir(nn.Module())) | {"graph", "code", "meta"}


def layer_name(text: str) -> str:
    """Return ``text`` as an identifier that is no attribute of a module; a name made so stays as it is."""
    name = _NOT_IN_A_NAME.sub("_", text).strip("_") or "layer"
    if name[0].isdigit():
        name = f"layer_{name}"
    if (
        keyword.iskeyword(name)
        or name in _MODULE_ATTRIBUTES
        or name == INPUT
        or re.fullmatch(rf"{OUTPUT}(_\d+)?", name)
    ):
        name = f"{name}_layer"
    return name


def output_names(count: int) -> tuple[str, ...]:
    """Return the names of the outputs of a network that has ``count`` of them."""
    return (OUTPUT,) if count == 1 else tuple(f"{OUTPUT}_{index}" for index in range(count))


class UniqueNames:
    """Hands out names, numbering the second and later uses of one: ``conv``, ``conv_2``, ``conv_3``."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """Return ``name``, or ``name`` with the first free number, and remember it."""
        unique, number = name, 1
        while unique in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique)
        return unique
