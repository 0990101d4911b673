"""A network of modules → ONNX: opset 13, one input ``image``, output ``logits``, BatchNorm kept, contract inside.

Every module is written by the function for its exact type (``operators``), not traced: the same graph gives the same
bytes, and a layer's name in PyTorch is its node's name in ONNX and the prefix of its weights.
"""

from __future__ import annotations

import copy
import math
import operator
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from pipeline.errors import NetworkError
from pipeline.network.contract import InputContract, write_contract
from pipeline.network.functional import as_module
from pipeline.network.names import INPUT, UniqueNames, layer_name, output_names
from pipeline.network.operators import WRITE
from pipeline.network.operators.form import Layer, pair
from pipeline.network.opset import IR_VERSION, OPSET
from pipeline.network.trace import trace

_NOT_WRITTEN = (nn.Identity, nn.Dropout, nn.Dropout2d)


def to_onnx(network: nn.Module, contract: InputContract) -> onnx.ModelProto:
    """Return ``network`` as ONNX, as it is in evaluation mode; it is not changed.

    Args:
        network: a ``GraphModule``, or a module that ``torch.fx`` can trace.
        contract: its input; ``contract.image`` gives the shape, the batch stays open (``N``).

    Raises:
        NetworkError: it does not run on such an image, or a layer has no form in ONNX; names the layer.
    """
    return _Lower(trace(network), contract).run()


class _Lower:
    """The state of one ``to_onnx``."""

    def __init__(self, network: fx.GraphModule, contract: InputContract) -> None:
        self.network = network
        self.contract = contract
        self.shapes = _shapes(network, contract.image)
        self.values: dict[fx.Node, str] = {}
        self.pads: dict[fx.Node, tuple[int, int, int, int]] = {}
        self.names = UniqueNames()
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def run(self) -> onnx.ModelProto:
        output = next(node for node in self.network.graph.nodes if node.op == "output")
        made = output.args[0] if isinstance(output.args[0], (tuple, list)) else (output.args[0],)
        names = output_names(len(made))
        wanted: dict[fx.Node, str] = {}
        for node, name in zip(made, names, strict=True):
            wanted.setdefault(self._source(node), name)
        for node in self.network.graph.nodes:
            if node.op != "output":
                self._write(node, wanted.get(node))
        for node, name in zip(made, names, strict=True):
            if self.values[node] != name:
                self.nodes.append(helper.make_node("Identity", [self.values[node]], [name], name=f"{name}_layer"))
        return self._model(names, [self.shapes[node] for node in made])

    def _model(self, names: tuple[str, ...], shapes: list[tuple[int, ...]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *self.contract.image])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]])
                for name, shape in zip(names, shapes, strict=True)
            ],
            list(self.weights.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="kpufit", ir_version=IR_VERSION
        )
        write_contract(model, self.contract)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        return model

    def _source(self, node: fx.Node) -> fx.Node:
        """Return the node whose value ``node`` has, past layers that are not written."""
        while node.op == "call_module" and isinstance(self.network.get_submodule(str(node.target)), _NOT_WRITTEN):
            node = node.all_input_nodes[0]
        return node

    def _write(self, node: fx.Node, wanted: str | None) -> None:
        """Write one node of the graph; its value is called ``wanted`` where that is given."""
        if node.op == "placeholder":
            if INPUT in self.values.values():
                raise NetworkError("more than one input", where=str(node.target))
            self.values[node] = self.names.take(INPUT)
        elif node.op == "get_attr":
            name = self.names.take(layer_name(str(node.target)))
            self._constant(name, _attribute(self.network, str(node.target)))
            self.values[node] = name
        elif node.target is operator.getitem and isinstance(node.args[0], fx.Node):
            self.values[node] = _part(self.values[node.args[0]], node.args[1])
        else:
            self._write_layer(node, wanted)

    def _write_layer(self, node: fx.Node, wanted: str | None) -> None:
        name = str(node.target) if node.op == "call_module" else node.name
        try:
            module, arguments = self._call(node)
            if isinstance(module, _NOT_WRITTEN):
                self.values[node] = self.values[arguments[0]]
                return
            pads = self._pads_for_next(node, module)
            if pads is not None:
                self.pads[node], self.values[node] = pads, self.values[arguments[0]]
                return
            if type(module) not in WRITE:
                raise ValueError(f"a layer of type {type(module).__name__} has no form in ONNX here")
            written_name = self.names.take(layer_name(name))
            inputs = tuple(self._operand(argument, written_name) for argument in arguments)
            read = next(argument for argument in arguments if isinstance(argument, fx.Node))
            outputs = () if isinstance(self.shapes[node], tuple) else self._parts(node, written_name)
            layer = Layer(written_name, inputs, wanted or written_name, self.shapes[read], self.shapes[node], outputs)
            written = WRITE[type(module)](module, layer)
        except ValueError as error:
            raise NetworkError(str(error), where=name) from error
        self.values[node] = written_name if outputs else layer.output
        for onnx_node in written.nodes:
            self.nodes.append(onnx_node)
        if arguments[0] in self.pads:
            _add_pads(self.nodes[-1], self.pads[arguments[0]])
        self.weights.update((weight.name, weight) for weight in written.weights)

    def _call(self, node: fx.Node) -> tuple[nn.Module, tuple[Any, ...]]:
        if node.op != "call_module":
            return as_module(node)
        return self.network.get_submodule(str(node.target)), (*node.args, *node.kwargs.values())

    def _parts(self, node: fx.Node, name: str) -> tuple[str, ...]:
        return tuple(_part(name, index) for index in range(len(self.shapes[node])))

    def _pads_for_next(self, node: fx.Node, module: nn.Module) -> tuple[int, int, int, int] | None:
        """Return the pads (left, right, top, bottom) that the only reader can do itself: Conv zeros, MaxPool −∞."""
        users = list(node.users)
        if type(module) not in (nn.ZeroPad2d, nn.ConstantPad2d) or len(users) != 1 or users[0].op != "call_module":
            return None
        assert isinstance(module, (nn.ZeroPad2d, nn.ConstantPad2d))
        value = module.value
        left, right, top, bottom = (int(side) for side in module.padding)
        if min(left, right, top, bottom) < 0:
            return None
        reader = self.network.get_submodule(str(users[0].target))
        if type(reader) is nn.Conv2d and value == 0.0 and not isinstance(reader.padding, str):
            return left, right, top, bottom
        if type(reader) is nn.MaxPool2d and value == -math.inf:
            fits = max(top, bottom) < pair(reader.kernel_size)[0] and max(left, right) < pair(reader.kernel_size)[1]
            return (left, right, top, bottom) if fits else None
        return None

    def _operand(self, argument: Any, layer: str) -> str:
        if isinstance(argument, fx.Node):
            return self.values[argument]
        if not isinstance(argument, (int, float)):
            raise ValueError(f"an argument of type {type(argument).__name__} has no form in ONNX here")
        name = self.names.take(f"{layer}_constant")
        self._constant(name, torch.tensor(float(argument)))
        return name

    def _constant(self, name: str, value: Tensor) -> None:
        self.weights[name] = numpy_helper.from_array(value.detach().cpu().contiguous().numpy(), name)


def _part(name: str, index: object) -> str:
    return f"{name}_part_{index}"


def _attribute(network: nn.Module, target: str) -> Tensor:
    value: Any = network
    for part in target.split("."):
        value = getattr(value, part)
    if not isinstance(value, Tensor):
        raise NetworkError("an attribute that is no tensor", where=target)
    return value


def _add_pads(node: onnx.NodeProto, pads: tuple[int, int, int, int]) -> None:
    left, right, top, bottom = pads
    attribute = next(attribute for attribute in node.attribute if attribute.name == "pads")
    attribute.ints[:] = [own + extra for own, extra in zip(attribute.ints, (top, left, bottom, right), strict=True)]


class _ShapeRecorder(fx.Interpreter):
    """Runs a network and notes the shape of every value."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.shapes: dict[str, Any] = {}
        self.at = ""

    def run_node(self, n: fx.Node) -> Any:
        self.at = str(n.target)
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = tuple(value.shape)
        elif isinstance(value, (tuple, list)) and n.op != "output":
            self.shapes[n.name] = [tuple(part.shape) for part in value]
        return value


def _shapes(network: fx.GraphModule, image: tuple[int, int, int]) -> dict[fx.Node, Any]:
    """Return the shape of every node's value for a batch of one (a list of shapes for a layer of several outputs).

    Raises:
        NetworkError: the network does not run on ``image``; names the layer.
    """
    recorder = _ShapeRecorder(copy.deepcopy(network).cpu().float().eval())
    try:
        with torch.no_grad():
            recorder.run(torch.zeros(1, *image))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        what = f"the network does not run on an image of {' × '.join(map(str, image))} ({str(error).splitlines()[0]})"
        raise NetworkError(
            what, where=recorder.at, remedy="compare the recipe's image with the network's input"
        ) from error
    return {node: recorder.shapes[node.name] for node in network.graph.nodes if node.name in recorder.shapes}
