"""A network's layers as its author wrote them: what rules look at, and what findings name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One ONNX node.

    Attributes:
        name: of the node.
        op: its operator.
        inputs: names of the tensors it reads, constants included; "" where one is left out.
        outputs: names of the tensors it gives.
        attributes: by name, text decoded.
        in_shape: of the first input, batch 1; () where it is not known.
        out_shape: of the first output.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    in_shape: Shape
    out_shape: Shape

    @property
    def strides(self) -> tuple[int, int]:
        """Down and to the right, of a convolution or a pool."""
        return _pair(self.attributes.get("strides"), 1)

    @property
    def dilations(self) -> tuple[int, int]:
        """Down and to the right."""
        return _pair(self.attributes.get("dilations"), 1)

    @property
    def groups(self) -> int:
        """Of a convolution."""
        return int(self.attributes.get("group", 1))

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right, as written."""
        given = tuple(int(n) for n in self.attributes.get("pads") or (0, 0, 0, 0))
        return given if len(given) == 4 else (0, 0, 0, 0)


@dataclass(frozen=True)
class Network:
    """All layers of a network.

    Attributes:
        layers: in the network's order.
        producers: which layer gives a tensor.
        readers: which layers read a tensor.
        outputs: names of the network's outputs.
        constants: shapes of the constants.
        shapes: of every other tensor, batch 1.
    """

    layers: tuple[Layer, ...]
    producers: Mapping[str, Layer]
    readers: Mapping[str, tuple[Layer, ...]]
    outputs: tuple[str, ...]
    constants: Mapping[str, Shape]
    shapes: Mapping[str, Shape]
    _protos: Mapping[str, onnx.TensorProto] = field(repr=False, default_factory=dict)

    def before(self, layer: Layer, index: int = 0) -> Layer | None:
        """Return the layer that gives input ``index``, or None for the image or a constant."""
        return self.producers.get(layer.inputs[index]) if index < len(layer.inputs) else None

    def after(self, layer: Layer) -> tuple[Layer, ...]:
        """Return the layers that read the first output."""
        return self.readers.get(layer.outputs[0], ())

    def array(self, name: str) -> NDArray[Any] | None:
        """Return the numbers of a constant, or None where they are not known (or were not loaded)."""
        proto = self._protos.get(name)
        if proto is None or not _has_values(proto):
            return None
        values: NDArray[Any] = numpy_helper.to_array(proto)
        return values

    def weights(self, layer: Layer) -> Shape:
        """Return the shape of a layer's second input where it is constant, else ()."""
        return self.constants.get(layer.inputs[1], ()) if len(layer.inputs) > 1 else ()


def read_network(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> Network:
    """Return the layers of a network.

    Args:
        model: ONNX.
        shapes: of every tensor, as ``nncase.program.Program`` has them.
    """
    protos = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.HasField("t")), None)
            value = onnx.helper.get_attribute_value(node.attribute[0]) if tensor is None else None
            protos[node.output[0]] = numpy_helper.from_array(np.asarray(value)) if tensor is None else tensor
        else:
            nodes.append(node)
    layers = tuple(_layer(node, shapes) for node in nodes)
    producers = {output: layer for layer in layers for output in layer.outputs}
    readers: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        for name in dict.fromkeys(layer.inputs):
            readers[name].append(layer)
    return Network(
        layers=layers,
        producers=producers,
        readers={name: tuple(reading) for name, reading in readers.items()},
        outputs=tuple(value.name for value in model.graph.output),
        constants={name: tuple(tensor.dims) for name, tensor in protos.items()},
        shapes=shapes,
        _protos=protos,
    )


def _has_values(tensor: onnx.TensorProto) -> bool:
    kinds = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    return any(len(getattr(tensor, kind)) for kind in kinds) or 0 in tensor.dims


def _layer(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> Layer:
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return Layer(
        name=node.name or f"{node.op_type}:{node.output[0]}",
        op=node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()},
        in_shape=next((shapes[name] for name in node.input if name in shapes), ()),
        out_shape=shapes.get(node.output[0], ()),
    )


def _pair(values: Any, default: int) -> tuple[int, int]:
    if not values:
        return (default, default)
    first, *rest = (int(v) for v in values)
    return (first, rest[0] if rest else first)
