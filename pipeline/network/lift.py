"""ONNX → a trainable ``torch.fx.GraphModule`` of ordinary modules, one a node."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import fx, nn

from pipeline.errors import NetworkError
from pipeline.network.fuse import fuse
from pipeline.network.names import INPUT, UniqueNames, layer_name
from pipeline.network.operation import describe, passes_through, value_shapes
from pipeline.network.operators import LIFT
from pipeline.network.operators.form import Lifted


def to_torch(model: onnx.ModelProto, *, where: str = "") -> fx.GraphModule:
    """Return the network of ``model`` as modules that can be trained, pruned and exchanged, in evaluation mode.

    Layers are called after their ONNX nodes (see ``names``), so that ``to_onnx`` and a second ``to_torch`` give the
    same names. Batch normalisations stay, constant operands become buffers, ``Identity`` and ``Dropout`` vanish.

    Args:
        model: in the form that ``load_onnx`` and ``to_onnx`` give: opset 13, one input, constants folded.
        where: the file, for messages.

    Raises:
        NetworkError: names every operator that is not carried, with its layers.
    """
    _refuse_unknown(model, where)
    return _Lift(onnx.shape_inference.infer_shapes(model), where).run()


def _refuse_unknown(model: onnx.ModelProto, where: str) -> None:
    unknown: dict[str, list[str]] = {}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in (*LIFT, *_CONSTANTS) and not passes_through(node, constants):
            unknown.setdefault(node.op_type, []).append(node.name or node.output[0])
    if unknown:
        listed = "; ".join(
            f"{op} (layer {', '.join(names[:4])}{' …' * (len(names) > 4)})" for op, names in unknown.items()
        )
        raise NetworkError(
            f"operators that cannot be carried: {listed}",
            where=where,
            remedy=f"replace them in the model before the export; carried are {', '.join(sorted(LIFT))}",
        )


_CONSTANTS = ("Constant", "ConstantOfShape")
_MOST_VALUES = 2**28


class _Lift:
    """The state of one ``to_torch``: what each ONNX value has become."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        graph = model.graph
        self.where = where
        self.onnx = graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.shapes = value_shapes(graph)
        self.values: dict[str, fx.Node] = {}
        self.names = UniqueNames()
        self.graph = fx.Graph()
        self.modules = nn.Module()

    def run(self) -> fx.GraphModule:
        inputs = [value.name for value in self.onnx.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise NetworkError(
                f"{len(inputs)} inputs ({', '.join(inputs) or 'none'}) instead of one image", where=self.where
            )
        self.names.take(INPUT)
        self.values[inputs[0]] = self.graph.placeholder(INPUT)
        for node in self.onnx.node:
            try:
                self._lift(node)
            except NetworkError as error:
                where = f"{self.where}: {error.where}" if self.where else error.where
                raise NetworkError(error.what, where=where, remedy=error.remedy) from error
        outputs = tuple(self._value(value.name) for value in self.onnx.output)
        self.graph.output(outputs[0] if len(outputs) == 1 else outputs)
        self.graph.lint()
        return fuse(fx.GraphModule(self.modules, self.graph, class_name="Network")).eval()

    def _lift(self, node: onnx.NodeProto) -> None:
        if node.op_type in _CONSTANTS:
            self.constants[node.output[0]] = _constant(node, self.constants)
            self.shapes[node.output[0]] = self.constants[node.output[0]].shape
            return
        if passes_through(node, self.constants):
            self.values[node.output[0]] = self._value(node.input[0])
            return
        name = self.names.take(layer_name(node.name or node.op_type.lower()))
        outputs = [output for output in node.output if output]
        lifted = LIFT[node.op_type](describe(node, name, self.constants, self.shapes))
        if isinstance(lifted, nn.Module):
            lifted = Lifted(lifted)
        read = [self._value(node.input[index]) for index in lifted.data]
        if isinstance(lifted.module, nn.Identity):
            self.values[node.output[0]] = read[0]
            return
        if lifted.before is not None:
            read = [self._call(self.names.take(f"{name}_pad"), lifted.before, read)]
        made = self._call(name, lifted.module, read)
        for suffix, module in lifted.after:
            made = self._call(self.names.take(f"{name}_{suffix}"), module, [made])
        if len(outputs) == 1:
            self.values[outputs[0]] = made
        else:
            for index, output in enumerate(node.output):
                if output:
                    self.values[output] = self.graph.call_function(operator.getitem, (made, index))

    def _call(self, name: str, module: nn.Module, read: list[fx.Node]) -> fx.Node:
        self.modules.add_module(name, module)
        return self.graph.create_node("call_module", name, tuple(read), {}, name=name)

    def _value(self, name: str) -> fx.Node:
        """Return the node that makes a value; a constant becomes a buffer."""
        if name not in self.values:
            if name not in self.constants:
                raise NetworkError(f"value {name!r} is read but never made", where=self.where)
            buffer = self.names.take(layer_name(name))
            self.modules.register_buffer(buffer, torch.from_numpy(self.constants[name].copy()))
            self.values[name] = self.graph.create_node("get_attr", buffer, name=buffer)
        return self.values[name]


def _constant(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
    if node.op_type == "ConstantOfShape":
        return _filled(node, tensor, constants)
    if tensor is None:
        raise NetworkError("a Constant without a tensor", where=node.name, remedy="read the file with load_onnx")
    array: NDArray[Any] = numpy_helper.to_array(tensor)
    return array


def _filled(
    node: onnx.NodeProto, tensor: onnx.TensorProto | None, constants: Mapping[str, NDArray[Any]]
) -> NDArray[Any]:
    """Return the weights that a file gives as one number and a shape."""
    if node.input[0] not in constants:
        raise NetworkError("weights of a shape that the network computes", where=node.name)
    shape = tuple(int(n) for n in constants[node.input[0]])
    if math.prod(shape) > _MOST_VALUES:
        raise NetworkError(f"weights of shape {list(shape)} are over 1 GiB", where=node.name)
    value = numpy_helper.to_array(tensor).reshape(-1)[0] if tensor is not None else np.float32(0)
    return np.full(shape, value)
