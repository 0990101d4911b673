"""What the operators see of an ONNX node when it is lifted, and what they return; the same for writing one back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from pipeline.errors import NetworkError

Shape = tuple[int | None, ...]
"""A tensor's shape; None where it is not known. Axis 0 is the batch."""


@dataclass(frozen=True)
class Operation:
    """An ONNX node in opset 13 form, ready to be lifted.

    Attributes:
        op: ONNX's operator, e.g. ``Conv``.
        name: the layer's name, for messages.
        attributes: the node's attributes as Python values.
        constants: the constant value of each input, None for an activation or an input left out.
        inputs: the shape of each input, None for one left out.
        output: the shape of the first output, as ONNX's shape inference found it.
        outputs: how many outputs the node has.
    """

    op: str
    name: str
    attributes: Mapping[str, Any]
    constants: tuple[NDArray[Any] | None, ...]
    inputs: tuple[Shape | None, ...]
    output: Shape | None
    outputs: int = 1

    def constant(self, index: int) -> NDArray[Any] | None:
        """Return the value of input ``index`` where it is constant, else None (also where it is left out)."""
        return self.constants[index] if index < len(self.constants) else None

    def given(self, index: int) -> bool:
        """Return whether the node has an input ``index``."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def required(self, index: int, what: str) -> NDArray[Any]:
        """Return the constant input ``index``.

        Raises:
            NetworkError: it is computed by the network.
        """
        value = self.constant(index)
        if value is None:
            raise self.refuse(f"its {what} must be constant")
        return value

    def optional(self, index: int, what: str) -> NDArray[Any] | None:
        """Return the constant input ``index``, None where it is left out.

        Raises:
            NetworkError: it is computed by the network.
        """
        return self.required(index, what) if self.given(index) else None

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of input ``index``, its rank known.

        Raises:
            NetworkError: shape inference found none.
        """
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise self.refuse("the shape of its input is not known", remedy="run ONNX's shape inference on the file")
        return found

    def sizes(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of input ``index`` without the batch.

        Raises:
            NetworkError: a length is not known.
        """
        sizes = self.shape(index)[1:]
        if any(size is None for size in sizes):
            raise self.refuse("the shape of its input is not fixed", remedy="export the model with fixed image sizes")
        return tuple(size for size in sizes if size is not None)

    def axis(self, value: int, *, rank: int | None = None, batch: bool = False) -> int:
        """Return an axis counted from the front.

        Raises:
            NetworkError: it is the batch, and ``batch`` is false.
        """
        count = len(self.shape()) if rank is None else rank
        axis = int(value) + count if value < 0 else int(value)
        if not batch and axis == 0:
            raise self.refuse("it works across the images of a batch")
        return axis

    def refuse(self, why: str, *, remedy: str = "") -> NetworkError:
        """Return (not raise) the error for a form of the operator that we do not carry."""
        return NetworkError(
            f"this form of {self.op} cannot be carried: {why}",
            where=self.name,
            remedy=remedy or "replace the layer in the model, or export the model with another tool",
        )


@dataclass(frozen=True)
class Lifted:
    """What a node becomes.

    Attributes:
        module: the layer; it takes the node's name.
        data: which of the node's inputs are given to the layer; the others are in its weights or settings.
        before: a layer that its (single) input passes first, named ``<name>_pad``.
        after: layers that follow it, by suffix of the name.
    """

    module: nn.Module
    data: tuple[int, ...] = (0,)
    before: nn.Module | None = None
    after: tuple[tuple[str, nn.Module], ...] = ()


Lifter = Callable[[Operation], Lifted | nn.Module]


@dataclass(frozen=True)
class Layer:
    """A layer that is to be written as ONNX.

    Attributes:
        name: of the layer; prefix of its weights.
        inputs: names of the values it reads.
        output: name of the value it makes.
        shape: of its first input, batch included.
        output_shape: of its output, batch included.
        outputs: names of all outputs of a layer that has several.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """The ONNX form of a layer: nodes in order, and the weights they read."""

    nodes: tuple[onnx.NodeProto, ...]
    weights: tuple[onnx.TensorProto, ...] = ()


Writer = Callable[[Any, Layer], Written]


class Writing:
    """Collects the nodes and weights of one layer."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, suffix: str, value: Tensor | NDArray[Any]) -> str:
        """Add a weight ``<layer>.<suffix>``; return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"{self.layer.name}.{suffix}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, suffix: str, values: tuple[int, ...]) -> str:
        """Add int64 values ``<layer>.<suffix>``; return their name."""
        return self.weight(suffix, np.asarray(values, np.int64))

    def scalar(self, suffix: str, value: float) -> str:
        """Add a float32 number ``<layer>.<suffix>``; return its name."""
        return self.weight(suffix, np.asarray(value, np.float32))

    def step(self, op: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
        """Add a node that is not the layer's last, named ``<layer>_<suffix>``; return the value it makes."""
        name = f"{self.layer.name}_{suffix}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def last(self, op: str, inputs: list[str], **attributes: Any) -> Written:
        """Add the layer's last node and return all of them."""
        outputs = list(self.layer.outputs) or [self.layer.output]
        self._nodes.append(helper.make_node(op, inputs, outputs, name=self.layer.name, **attributes))
        return Written(tuple(self._nodes), tuple(self._weights))


def write_node(layer: Layer, op: str, **attributes: Any) -> Written:
    """Return the form of a layer without weights: one node of all its inputs."""
    return Writing(layer).last(op, list(layer.inputs), **attributes)


def parameter(value: NDArray[Any]) -> nn.Parameter:
    """Return a trainable float32 copy of ``value``."""
    return nn.Parameter(torch.from_numpy(np.array(value, np.float32)))


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """Return PyTorch's "one or two integers" as two."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
