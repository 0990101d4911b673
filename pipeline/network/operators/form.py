"""What an operator's two directions return: a node lifted to a layer, a layer written as nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from pipeline.network.operation import Operation


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
        self._weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
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
