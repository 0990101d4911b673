"""The networks that the simulators are timed on, as ONNX with seeded, well-scaled random weights.

Speed does not depend on what the weights are, but on the layers; random ones need no training and no download.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Image = tuple[int, int, int]
OPSET: Final = 13
IR_VERSION: Final = 8


class Chain:
    """Layers one behind the other; each call appends."""

    def __init__(self, image: Image) -> None:
        self.image, self.shape, self.tensor = image, image, "image"
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def conv(self, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Chain:
        """Append a convolution, padded by kernel // 2, and a ReLU6 (nncase folds a Clip, not every Relu)."""
        depth = self.shape[0] // groups
        weights = self._random.normal(0, (2 / (depth * kernel**2)) ** 0.5, (channels, depth, kernel, kernel))
        inputs = [self.tensor, self._constant(weights), self._constant(self._random.normal(0, 0.1, channels))]
        sides = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        self._append("Conv", inputs, group=groups, **sides)
        height, width = ((side - 1) // stride + 1 for side in self.shape[1:])
        self.shape = (channels, height, width)
        return self._append("Clip", [self.tensor, self._constant(np.float32(0)), self._constant(np.float32(6))])

    def depthwise(self, stride: int = 1) -> Chain:
        """Append a depthwise 3×3 convolution."""
        return self.conv(self.shape[0], 3, stride, groups=self.shape[0])

    def pool(self) -> Chain:
        """Append a 2×2 max-pool."""
        self.shape = (self.shape[0], self.shape[1] // 2, self.shape[2] // 2)
        return self._append("MaxPool", [self.tensor], kernel_shape=[2, 2], strides=[2, 2])

    def classifier(self, classes: int) -> bytes:
        """Append a global average pool and a fully connected layer, and return the network."""
        self._append("GlobalAveragePool", [self.tensor])
        self._append("Flatten", [self.tensor])
        weights = self._random.normal(0, self.shape[0] ** -0.5, (classes, self.shape[0]))
        self._append("Gemm", [self.tensor, self._constant(weights), self._constant(np.zeros(classes))], transB=1)
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.image])
        result = helper.make_tensor_value_info(self.tensor, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(self._nodes, "network", [given], [result], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        data: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
        return data

    def _constant(self, values: npt.ArrayLike) -> str:
        name = f"weight{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def _append(self, op: str, inputs: list[str], **attributes: object) -> Chain:
        self.tensor = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [self.tensor], name=self.tensor, **attributes))
        return self


def mobilenet_v1(width: float, side: int) -> tuple[bytes, Image]:
    """Return MobileNetV1 (Howard et al. 2017, table 1), ten classes."""
    image = (3, side, side)
    chain = Chain(image).conv(int(32 * width), 3, 2)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for channels, stride in blocks:
        chain.depthwise(stride).conv(int(channels * width), 1)
    return chain.classifier(10), image


def default_recipe() -> tuple[bytes, Image]:
    """Return what the default recipe's network becomes: zoo ``convnet5x5`` of width 32, each 5×5 as two 3×3."""
    image = (1, 32, 32)
    chain = Chain(image).conv(16, 3).conv(16, 3).pool().conv(32, 3).conv(32, 3).pool().conv(64, 3).pool().conv(64, 3)
    return chain.classifier(10), image


NETWORKS: Final[dict[str, Callable[[], tuple[bytes, Image]]]] = {
    "MobileNetV1 x0.5 at 128": lambda: mobilenet_v1(0.5, 128),
    "MobileNetV1 x0.75 at 224": lambda: mobilenet_v1(0.75, 224),
    "default recipe": default_recipe,
}
