"""The networks that the onnx package brings along without their weights ("light" models), with random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.backend.test import data

FOLDER: Final = Path(next(iter(data.__path__))) / "light"
LIGHT: Final = (
    "squeezenet",
    "shufflenet",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "densenet121",
    "bvlc_alexnet",
    "zfnet512",
    "vgg19",
)
"""The smaller first: VGG19's weights are 574 MB."""


def light(name: str) -> onnx.ModelProto:
    """Return one of the light models.

    Its weights, all one number and made by ConstantOfShape nodes, become initialisers: of He's scale for convolutions
    and fully connected layers, near 1 for scales and variances, near 0 for biases and means. A Sum of two becomes an
    Add, which is the same and which kpufit carries.
    """
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    random = np.random.default_rng(0)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    renamed = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Unsqueeze"}
    readers: dict[str, tuple[onnx.NodeProto, int]] = {}
    for node in graph.node:
        for index, value in enumerate(node.input):
            if node.op_type != "Unsqueeze":
                readers.setdefault(renamed.get(value, value), (node, index))
    kept = []
    for node in graph.node:
        if node.op_type == "Sum" and len(node.input) == 2:
            node.op_type = "Add"
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        reader, index = readers[node.output[0]]
        shape = tuple(int(side) for side in shapes[node.input[0]])
        graph.initializer.append(numpy_helper.from_array(_weights(reader, index, shape, random), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _weights(
    reader: onnx.NodeProto, index: int, shape: tuple[int, ...], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return values for an input of a node."""
    if reader.op_type in ("Conv", "Gemm") and index == 1:
        across = any(attribute.name == "transB" and attribute.i for attribute in reader.attribute)
        fan_in = int(np.prod(shape[1:])) if reader.op_type == "Conv" or across else shape[0]
        return random.standard_normal(shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
    if reader.op_type == "Mul" or (reader.op_type == "BatchNormalization" and index in (1, 4)):
        return random.uniform(0.8, 1.2, shape).astype(np.float32)
    return random.standard_normal(shape, np.float32) * np.float32(0.1)
