"""The classifier's head of a TFLite network, in float: what kmodel v3 and v4 run on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from pipeline.kmodel.transcode import Head

_OPERATORS = schema.BuiltinOperator


def tflite_head(tflite: bytes) -> Head | None:
    """Return the head of a float TFLite network N×H×W×C, or None where it does not end in one.

    A head is a fully connected layer without activation, behind a mean over height and width or behind a flattened
    map. The weights of a flattened map are put into the order C, H, W, in which a kmodel stores it.
    """
    model = schema.ModelT.InitFromPackedBuf(tflite, 0)
    graph = model.subgraphs[0]
    writers = {int(output): operator for operator in graph.operators for output in operator.outputs}
    dense = writers.get(int(graph.outputs[0]))
    if dense is None or _code(model, dense) != _OPERATORS.FULLY_CONNECTED:
        return None
    if dense.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.NONE:
        return None
    weight = _constant(model, graph.tensors[dense.inputs[1]])
    bias = _constant(model, graph.tensors[dense.inputs[2]]) if len(dense.inputs) > 2 and dense.inputs[2] >= 0 else None
    if weight is None:
        return None
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    before = writers.get(int(dense.inputs[0]))
    while before is not None and _code(model, before) in (_OPERATORS.RESHAPE, _OPERATORS.SQUEEZE):
        dense_input = int(before.inputs[0])
        shape = [int(size) for size in graph.tensors[dense_input].shape]
        if len(shape) == 4 and shape[1:3] != [1, 1]:
            _, height, width, channels = shape
            by_channel = weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
            return Head(np.ascontiguousarray(by_channel.reshape(len(weight), -1)), bias, pool=False)
        before = writers.get(dense_input)
    pools = before is not None and _code(model, before) in (_OPERATORS.MEAN, _OPERATORS.AVERAGE_POOL_2D)
    return Head(weight, bias, pool=True) if pools else None


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _constant(model: Any, tensor: Any) -> NDArray[np.float32] | None:
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type != schema.TensorType.FLOAT32:
        return None
    values: NDArray[np.float32] = np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)
    return values
