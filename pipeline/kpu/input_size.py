"""The largest image for which the maps of a network fit the KPU's memory, where those of its own image do not.

The same layers are predicted for smaller images of nearly the same proportions, in multiples of 32 pixels, as most
networks halve their maps five times. Convolutions do not care, and a pool over the whole map stays one; a fully
connected layer behind a flattened map reads more or fewer numbers then, so that it would have to be trained anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from pipeline.errors import NetworkError
from pipeline.kpu import limits
from pipeline.kpu.nncase.lower import lower
from pipeline.kpu.nncase.program import Program

STEP = 32
"""Pixels from one size to the next."""

_LARGEST = 4096
"""Values of a constant that are copied: shapes, axes and bounds are smaller; weights have a shape alone."""
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_GLOBAL = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool"}


@dataclass(frozen=True)
class FittingSize:
    """An input for which the maps fit.

    Attributes:
        height: of the image.
        width: of the image.
        trained_anew: the layers whose weights have another shape then.
    """

    height: int
    width: int
    trained_anew: tuple[str, ...]


def fitting_size(model: onnx.ModelProto, *, prepared: bool = True, float_head: bool = False) -> FittingSize | None:
    """Return the largest smaller input whose maps fit the KPU's memory, None where there is none.

    Args:
        model: ONNX with one image input of fixed size.
        prepared: see ``lower``.
        float_head: see ``lower``.
    """
    bare = _bare(model)
    given = lower(bare, prepared=prepared, float_head=float_head)
    _pool_everything(bare, given)
    weights = {tensor.name for tensor in bare.graph.initializer}
    image = next(value for value in bare.graph.input if value.name not in weights)
    height, width = (dim.dim_value for dim in image.type.tensor_type.shape.dim[2:])
    refused = {refusal.layer for refusal in given.refusals}

    def at(steps: int) -> FittingSize | None:
        """The size whose longer side has so many steps, if its maps fit."""
        scale = STEP * steps / max(height, width)
        size = (_rounded(height * scale), _rounded(width * scale))
        try:
            program = lower(_resized(bare, image.name, size), prepared=prepared, float_head=float_head)
        except NetworkError:  # a window larger than its map
            return None
        if {refusal.layer for refusal in program.refusals} - refused or program.kpu_bytes > limits.KPU_MEMORY_BYTES:
            return None
        others = _other_products(bare, program)
        return None if others is None else FittingSize(*size, others)

    best, low, high = None, 1, math.ceil(max(height, width) / STEP) - 1
    while low <= high:  # a larger image takes more of the KPU's memory
        middle = (low + high) // 2
        found = at(middle)
        if found is None:
            high = middle - 1
        else:
            best, low = found, middle + 1
    return best


def _rounded(side: float) -> int:
    return max(STEP, round(side / STEP) * STEP)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the values of large weights, which shapes do not depend on, and without shapes of its maps."""
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        whole = math.prod(tensor.dims) <= _LARGEST or tensor.data_type == TensorProto.INT64
        bare.graph.initializer.append(
            tensor if whole else TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        )
    for output in model.graph.output:
        bare.graph.output.append(onnx.ValueInfoProto(name=output.name))
    return bare


def _pool_everything(bare: onnx.ModelProto, given: Program) -> None:
    """Write pools whose window is the whole map as global ones, in place."""
    for node in bare.graph.node:
        window = next((tuple(each.ints) for each in node.attribute if each.name == "kernel_shape"), ())
        padded = any(each.name == "pads" and any(each.ints) for each in node.attribute)
        if node.op_type in _GLOBAL and window == given.shapes[node.input[0]][2:] and not padded:
            node.op_type = _GLOBAL[node.op_type]
            del node.attribute[:]


def _resized(bare: onnx.ModelProto, image: str, size: tuple[int, int]) -> onnx.ModelProto:
    """The network for an image of another height and width."""
    resized = onnx.ModelProto()
    resized.CopyFrom(bare)
    (value,) = (value for value in resized.graph.input if value.name == image)
    for dim, side in zip(value.type.tensor_type.shape.dim[2:], size, strict=True):
        dim.dim_value = side
    return resized


def _other_products(bare: onnx.ModelProto, program: Program) -> tuple[str, ...] | None:
    """The fully connected layers that read another number of values than they have weights for.

    None where a Reshape that anything else reads asks for the old number of values: the network has one size only.
    """
    dims = {tensor.name: tuple(tensor.dims) for tensor in bare.graph.initializer}
    unlike = {
        node.output[0]
        for node in bare.graph.node
        if node.op_type == "Reshape" and _count(program, node.input[0]) != _count(program, node.output[0])
    }
    others = []
    for node in bare.graph.node:
        if node.op_type not in _PRODUCTS or node.input[1] not in dims:
            if unlike & set(node.input):
                return None
            continue
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        wanted = dims[node.input[1]][-1 if turned else -2]
        if node.input[0] in unlike or program.shapes.get(node.input[0], (wanted,))[-1] != wanted:
            others.append(node.name or f"{node.op_type}:{node.output[0]}")
    return tuple(others)


def _count(program: Program, name: str) -> int:
    return math.prod(program.shapes.get(name, ()))
