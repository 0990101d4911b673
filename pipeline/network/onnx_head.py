"""The classifier's head of an ONNX network, in float: what kmodel v3 and v4 run on the CPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from pipeline.errors import NetworkError
from pipeline.kmodel.transcode import Head

_POOLS = ("GlobalAveragePool", "ReduceMean", "AveragePool")
_SHAPES = ("Flatten", "Reshape", "Squeeze", "Identity", "Dropout")


def onnx_head(model: onnx.ModelProto, *, where: str = "") -> Head:
    """Return the head of a network in ``load_onnx``'s form.

    It is a fully connected layer behind a global pool or a flattened map; a softmax behind it is left to the host.

    Raises:
        NetworkError: the network does not end so; says in what it ends.
    """
    writers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    node = writers.get(model.graph.output[0].name)
    while node is not None and node.op_type in ("Softmax", "Identity"):
        node = writers.get(node.input[0])
    if node is None or node.op_type != "Gemm" or node.input[1] not in constants:
        raise NetworkError(
            f"ends in {node.op_type if node is not None else 'nothing'}, not in a fully connected layer",
            where=where,
            remedy="give the network whose last layer is the classifier (Gemm)",
        )
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    weight = constants[node.input[1]].astype(np.float32) * np.float32(attributes.get("alpha", 1.0))
    weight = np.ascontiguousarray(weight if attributes.get("transB", 0) else weight.T)
    bias = constants.get(node.input[2]) if len(node.input) > 2 else None
    bias = np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32).reshape(-1)
    before = writers.get(node.input[0])
    while before is not None and before.op_type in _SHAPES:
        before = writers.get(before.input[0])
    return Head(weight, bias, pool=before is not None and before.op_type in _POOLS)
