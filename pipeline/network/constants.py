"""What an ONNX network computes without looking at the image, computed once and kept as constants.

A damaged or hostile file must not make that costly: only operators that numpy runs at once are run, on shapes that
inference has told beforehand, and all that is made stays within what the file itself holds (and a little).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.network.operation import Shape, value_shapes, values_read
from pipeline.network.placeholders import LARGEST, droppable, is_placeholder, placeholder

_LEAST_BUDGET = 1 << 24
"""Values that may be made of any file; of a larger one twice as many as it holds."""

_LARGEST_GROWN = 1 << 20
"""Values that one operator may make of few."""

_GROWING = ("ConstantOfShape", "EyeLike", "Expand", "OneHot", "Pad", "Range", "Tile")

_SLOW = ("OneHot", "Resize", "ScatterElements", "ScatterND", "Upsample")
"""Operators that ONNX's reference implementation computes value by value."""

_LARGEST_SLOW = 1 << 16

_ELEMENTWISE = (
    *("Abs", "Add", "And", "BatchNormalization", "Cast", "CastLike", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf"),
    *("Exp", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mod", "Mul"),
    *("Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Sum"),
    *("DequantizeLinear", "IsInf", "IsNaN", "QuantizeLinear", "Tanh", "Where", "Xor"),
)
_MOVING = (
    *("Compress", "Concat", "Constant", "CumSum", "DepthToSpace", "Flatten", "Gather", "GatherElements", "GatherND"),
    *("Identity", "NonZero", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Trilu", "Unsqueeze"),
)
_REDUCING = (
    *("ArgMax", "ArgMin", "Gemm", "MatMul", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare", "TopK"),
)
_FOLDED = frozenset((*_ELEMENTWISE, *_MOVING, *_REDUCING, *_GROWING, *_SLOW))

_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def constants_as_weights(graph: onnx.GraphProto) -> None:
    """Move the tensors of Constant nodes among the weights."""
    kept = []
    for node in graph.node:
        value = _constant(node) if node.op_type == "Constant" and node.output else None
        if value is None:
            kept.append(node)
        else:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            return attribute.t
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            kind = np.int64 if "int" in attribute.name else np.float32
            return numpy_helper.from_array(np.asarray(helper.get_attribute_value(attribute), kind))
    return None


def fold_constants(
    model: onnx.ModelProto, infer: Callable[[onnx.ModelProto], onnx.ModelProto], *, weights: bool = True
) -> onnx.ModelProto:
    """Fold until nothing changes: nodes of constants alone, and ``Shape`` and ``Size`` of what has a fixed shape.

    Args:
        model: with its shapes inferred.
        infer: infers the shapes again after a round that changed something.
        weights: whether the values of large weights matter; if not, placeholders are made of them.
    """
    held = sum(math.prod(tensor.dims) for tensor in model.graph.initializer if not is_placeholder(tensor))
    budget = max(_LEAST_BUDGET, 2 * held)
    while (folding := _Folding(model, weights, budget)).once():
        budget = folding.budget
        del model.graph.value_info[:]
        model = infer(model)
    return model


class _Folding:
    """One round over the nodes."""

    def __init__(self, model: onnx.ModelProto, weights: bool, budget: int) -> None:
        self.model = model
        self.weights = weights
        self.budget = budget
        self.shapes = value_shapes(model.graph)
        self.kinds = {
            value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)
        }
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.arrays: dict[str, NDArray[Any]] = {}
        self.made: list[TensorProto] = []

    def once(self) -> bool:
        """Fold what can be; return whether anything was."""
        kept = [node for node in self.model.graph.node if not self._fold(node)]
        if len(kept) == len(self.model.graph.node):
            return False
        needed = {name for node in kept for name in values_read(node)}
        needed.update(value.name for value in self.model.graph.output)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)
        self.model.graph.initializer.extend(tensor for tensor in self.made if tensor.name in needed)
        return True

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Make constants of a node's outputs, if they do not depend on the image."""
        if node.op_type in _RANDOM or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return False
        if node.op_type in ("Shape", "Size"):
            return self._keep(node, _shape(node, self._shape(node.input[0])))
        read = [name for name in node.input if name]
        if any(name not in self.constants for name in read):
            return False
        if not self.weights and self._hold_places(node, read):
            return True
        if node.op_type not in _FOLDED or any(is_placeholder(self.constants[name]) for name in read):
            return False
        size = self._size(node, read)
        if size is None or size > self.budget:
            return False
        return self._keep(node, _evaluate(node, self.model, {name: self._array(name) for name in read}))

    def _keep(self, node: onnx.NodeProto, values: list[NDArray[Any]] | None) -> bool:
        if values is None:
            return False
        for name, value in zip(node.output, values, strict=True):
            if name:
                self.arrays[name] = np.array(value, order="C")
                self._add(numpy_helper.from_array(self.arrays[name], name))
                self.budget -= value.size
        return True

    def _hold_places(self, node: onnx.NodeProto, read: list[str]) -> bool:
        """Make placeholders of a node's outputs, if their values do not matter and their shapes are known."""
        outputs = [name for name in node.output if name]
        shapes = [self.shapes.get(name) for name in outputs]
        known = [shape for shape in shapes if shape is not None and None not in shape]
        if len(known) < len(outputs):
            return False
        sizes = [math.prod(size or 0 for size in shape) for shape in known]
        kinds = [self.kinds.get(name, TensorProto.UNDEFINED) for name in outputs]
        large = all(droppable(kind, size) for kind, size in zip(kinds, sizes, strict=True))
        if not large and not any(is_placeholder(self.constants[name]) for name in read):
            return False
        if TensorProto.UNDEFINED in kinds or 0 in sizes:
            return False
        for name, kind, shape in zip(outputs, kinds, known, strict=True):
            self._add(placeholder(name, kind, tuple(size or 0 for size in shape)))
        return True

    def _add(self, tensor: TensorProto) -> None:
        self.constants[tensor.name] = tensor
        self.made.append(tensor)

    def _shape(self, name: str) -> Shape | None:
        return tuple(self.constants[name].dims) if name in self.constants else self.shapes.get(name)

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            self.arrays[name] = numpy_helper.to_array(self.constants[name])
        return self.arrays[name]

    def _size(self, node: onnx.NodeProto, read: list[str]) -> int | None:
        """Return how many values the node makes; None where that is not known, or more than its operator may."""
        if node.op_type in ("Constant", "Identity"):
            return 0
        shapes = [self.shapes.get(name) for name in node.output if name]
        total = 0
        for shape in shapes:
            if shape is None or None in shape:
                # Not told by inference, as after a NonZero or before the next round: by the inputs, broadcast at worst.
                total = math.prod(max(1, math.prod(self.constants[name].dims)) for name in read)
                return total if total <= LARGEST and node.op_type not in _GROWING else None
            total += math.prod(size or 0 for size in shape)
        largest = self.budget
        if node.op_type in _GROWING:
            largest = _LARGEST_GROWN
        if node.op_type in _SLOW:
            largest = _LARGEST_SLOW
        return total if total <= largest else None


def _shape(node: onnx.NodeProto, shape: Shape | None) -> list[NDArray[Any]] | None:
    if shape is None or any(size is None for size in shape):
        return None
    if node.op_type == "Size":
        return [np.asarray(math.prod(size or 0 for size in shape), np.int64)]
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return [np.asarray(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)]


def _evaluate(
    node: onnx.NodeProto, model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]
) -> list[NDArray[Any]] | None:
    """Run one node with ONNX's reference implementation; None where that does not know it."""
    if node.op_type == "Identity":
        return [inputs[node.input[0]]]
    if node.op_type == "Constant":
        tensor = _constant(node)
        return None if tensor is None else [numpy_helper.to_array(tensor)]
    if node.op_type == "ConstantOfShape":
        value = next((numpy_helper.to_array(attribute.t) for attribute in node.attribute), np.zeros(1, np.float32))
        return [np.full(inputs[node.input[0]].reshape(-1).tolist(), value.reshape(-1)[0])]
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415  (0.3 s: only for files that need it)

    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    single = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(single).run(None, inputs)
    except Exception:  # damaged settings: whatever numpy makes of them; what is not folded is judged by who reads it
        return None
    present = iter(values)
    return [np.asarray(next(present)) if name else np.empty(0) for name in node.output]
