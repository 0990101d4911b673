"""Small networks in ONNX for the tests of the prediction, with seeded weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Appends layers to a chain; ``tensor`` and ``shape`` may be set to branch off an earlier point."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.image = (channels, height, width)
        self.tensor, self.shape = "image", self.image
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def _constant(self, values: np.ndarray) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _node(self, op: str, inputs: list[str], **attributes: object) -> Builder:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.tensor = name
        return self

    def conv(self, out: int, kernel: int = 3, stride: int = 1, act: str = "clip", groups: int = 1) -> Builder:
        channels, height, width = self.shape
        fan_in = channels // groups * kernel**2
        scale = np.sqrt(2 / fan_in)
        weights = self.random.normal(0, scale, (out, channels // groups, kernel, kernel)).astype(np.float32)
        bias = self.random.normal(0, 0.1, out).astype(np.float32)
        pad = kernel // 2
        self._node(
            "Conv",
            [self.tensor, self._constant(weights), self._constant(bias)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        )
        self.shape = (out, *((side + 2 * pad - kernel) // stride + 1 for side in (height, width)))
        if act == "clip":
            self._node("Clip", [self.tensor, self._constant(np.float32(0)), self._constant(np.float32(6))])
        elif act == "leaky":
            self._node("LeakyRelu", [self.tensor], alpha=0.1)
        return self

    def depthwise(self, stride: int = 1) -> Builder:
        return self.conv(self.shape[0], 3, stride, groups=self.shape[0])

    def batch_norm(self) -> Builder:
        channels = self.shape[0]
        values = [np.full(channels, v, np.float32) for v in (1.0, 0.1, 0.0, 1.0)]
        return self._node("BatchNormalization", [self.tensor, *map(self._constant, values)])

    def pool(self, kernel: int = 2, stride: int = 2, op: str = "MaxPool", pad: int = 0) -> Builder:
        channels, *sides = self.shape
        self._node(op, [self.tensor], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        self.shape = (channels, *((side + 2 * pad - kernel) // stride + 1 for side in sides))
        return self

    def residual(self) -> Builder:
        skip, channels = self.tensor, self.shape[0]
        self.conv(channels).conv(channels, act="")
        self._node("Add", [self.tensor, skip])
        return self._node("Clip", [self.tensor, self._constant(np.float32(0)), self._constant(np.float32(6))])

    def down_residual(self, out: int) -> Builder:
        skip, shape = self.tensor, self.shape
        self.conv(out, 3, 2).conv(out, act="")
        main = self.tensor
        self.tensor, self.shape = skip, shape
        self.conv(out, 1, 2, act="")
        self._node("Add", [main, self.tensor])
        return self._node("Clip", [self.tensor, self._constant(np.float32(0)), self._constant(np.float32(6))])

    def branches(self, first: int, second: int) -> Builder:
        start, shape = self.tensor, self.shape
        self.conv(first)
        one = self.tensor
        self.tensor, self.shape = start, shape
        self.conv(second, 1)
        self._node("Concat", [one, self.tensor], axis=1)
        self.shape = (first + second, *self.shape[1:])
        return self

    def head(self, classes: int) -> Builder:
        """A mean that does not keep the dimensions, as TFLite has it, and a fully connected layer."""
        self._node("ReduceMean", [self.tensor], axes=[2, 3], keepdims=0)
        weights = self.random.normal(0, 0.1, (classes, self.shape[0])).astype(np.float32)
        bias = np.zeros(classes, np.float32)
        self._node("Gemm", [self.tensor, self._constant(weights), self._constant(bias)], transB=1)
        self.shape = (classes,)
        return self

    def model(self) -> onnx.ModelProto:
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.image])
        result = helper.make_tensor_value_info(self.tensor, TensorProto.FLOAT, [1, *self.shape])
        graph = helper.make_graph(self.nodes, "network", [given], [result], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        return onnx.shape_inference.infer_shapes(model)  # nncase wants every tensor's shape in the file


def _mobilenet(width: float, side: int) -> Builder:
    net = Builder(3, side, side).conv(int(32 * width), 3, 2)
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (1024, 2), (1024, 1)]:
        net.depthwise(stride).conv(int(out * width), 1)
    return net


ALL_KPU: dict[str, Callable[[], Builder]] = {
    "one layer": lambda: Builder(3, 32, 32).conv(16),
    "odd channels": lambda: Builder(1, 28, 28).conv(13).conv(17, 1, act="leaky").conv(9, 3),
    "pools": lambda: (
        Builder(3, 128, 128).conv(15).pool().conv(33).pool(4, 4).conv(64).pool(op="AveragePool").conv(9, 1)
    ),
    "wide map": lambda: Builder(3, 48, 160).conv(8, 3, 2).conv(16, 3, 2).conv(24, act=""),
    "strides and depthwise": lambda: Builder(3, 64, 64).conv(16, 3, 2).depthwise(2).conv(40, 1).depthwise().conv(48, 1),
    "many channels": lambda: Builder(3, 16, 16).conv(128).conv(256).conv(384),
    "classifier": lambda: Builder(1, 32, 32).conv(24).pool().conv(48).pool().conv(96).head(10),
    "mobilenet": lambda: _mobilenet(0.25, 96).head(2),
}
"""Networks without a CPU operator but for the head's."""

WITH_CPU: dict[str, Callable[[], Builder]] = {
    "5x5 stem": lambda: Builder(3, 32, 32).conv(16, 5, 2).conv(32).head(10),
    "5x5 and 7x7 inside": lambda: Builder(3, 32, 32).conv(16, 3, 2).conv(24, 5).conv(8, 7).conv(16).head(10),
    "residual": lambda: Builder(3, 32, 32).conv(16).residual().residual().down_residual(32).residual().head(10),
    "concat": lambda: Builder(3, 32, 32).conv(16).branches(24, 8).conv(16).head(5),
    "pool 3x3": lambda: Builder(3, 64, 64).conv(16, 3, 2).pool(3, 2, pad=1).conv(32).head(10),
    "maps below 4x4": lambda: Builder(3, 12, 12).conv(8, 3, 2).conv(8, 3, 2).conv(16),
    "depthwise, sliced": lambda: Builder(3, 32, 32).conv(16, 3, 2).depthwise(2).conv(8),
    "odd size, stride 2": lambda: Builder(3, 33, 33).conv(16, 3, 2).conv(8),
}
"""Networks with float operators between the KPU's layers."""
