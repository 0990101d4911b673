"""A TFLite file written by hand, without TensorFlow."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

WEIGHTS = np.random.default_rng(2).normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32)


def tflite(
    weights: NDArray[np.float32] = WEIGHTS, *, size: int = 16, input_type: int = schema.TensorType.FLOAT32
) -> bytes:
    """One 3×3 convolution (filters O×H×W×I) of an image of size × size in a TFLite file."""
    model = schema.ModelT()
    model.version = 3
    model.description = "one convolution"
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    model.buffers[2].data = np.frombuffer(np.zeros(len(weights), np.float32).tobytes(), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 1
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    shapes = {
        "image": [1, size, size, weights.shape[3]],
        "weights": weights.shape,
        "bias": [len(weights)],
        "out": [1, size, size, len(weights)],
    }
    graph.tensors = []
    for buffer, (name, shape) in zip((0, 1, 2, 0), shapes.items(), strict=True):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = input_type if name == "image" else schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    convolution = schema.OperatorT()
    convolution.inputs, convolution.outputs = [0, 1, 2], [3]
    convolution.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    convolution.builtinOptions = schema.Conv2DOptionsT()
    convolution.builtinOptions.strideW = convolution.builtinOptions.strideH = 1
    convolution.builtinOptions.dilationWFactor = convolution.builtinOptions.dilationHFactor = 1
    graph.operators = [convolution]
    graph.inputs, graph.outputs = [0], [3]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
