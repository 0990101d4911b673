"""What every importer takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.kpu.nncase.graph import Value
from pipeline.kpu.nncase.tensors import Tensors


class ImportRefused(Exception):  # noqa: N818  (a result on its way, not an error of ours)
    """Raised by an importer for an operator, or a form of it, that nncase does not take."""


@dataclass(frozen=True)
class Operator:
    """One ONNX node while it is imported.

    Attributes:
        name: of the layer.
        op: the operator.
        inputs: names of its tensors, "" where one is left out.
        outputs: names of its results.
        attributes: by name.
        layers: the layer's name, for the nodes made of it.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that nodes made of this operator come from."""
        return (self.name,)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return len(self.inputs) > index and bool(self.inputs[index])

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """Return an attribute that names an axis, counted from the first."""
        return int(self.attributes.get(name, default)) % max(1, rank)


Import = Callable[[Tensors, Operator], Value | list[Value]]
"""Makes the nodes of an operator and gives its results."""


def known(t: Tensors, o: Operator, index: int) -> list[Any]:
    """Return the numbers of an input that nncase needs at once (``get_constant_value``)."""
    if not t.is_constant(o.inputs[index]):
        what = o.inputs[index]
        raise ImportRefused(f"Can't pull input data for <{what}> : only constant initialization is supported")
    return list(t.array(o.inputs[index]).reshape(-1).tolist())
