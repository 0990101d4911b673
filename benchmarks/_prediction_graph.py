"""Writes ONNX graphs with seeded, well-scaled random weights; every call appends a layer and returns its tensor."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 13
IR_VERSION: Final = 8


class Graph:
    """A network under construction; ``image`` is its input."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.image = "image"
        self.shapes: dict[str, tuple[int, ...]] = {"image": (1, channels, height, width)}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def channels(self, x: str) -> int:
        """Return the channels of a tensor."""
        return self.shapes[x][1]

    def conv(
        self,
        x: str,
        out: int,
        kernel: int | tuple[int, int] = 3,
        stride: int = 1,
        act: str | None = "clip",
        groups: int = 1,
        dilation: int = 1,
        pads: tuple[int, int, int, int] | None = None,
    ) -> str:
        """Append a convolution, padded by half its kernel unless ``pads`` (top, left, bottom, right) says otherwise."""
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        top, left = rows // 2 * dilation, columns // 2 * dilation
        around = pads or (top, left, top, left)
        depth = self.channels(x) // groups
        scale = (2 / (depth * rows * columns)) ** 0.5
        inputs = [
            x,
            self._constant(self._random.normal(0, scale, (out, depth, rows, columns))),
            self._constant(self._random.normal(0, 0.1, out)),
        ]
        height, width = self.shapes[x][2:]
        shape = (
            1,
            out,
            (height + around[0] + around[2] - dilation * (rows - 1) - 1) // stride + 1,
            (width + around[1] + around[3] - dilation * (columns - 1) - 1) // stride + 1,
        )
        sides = {"kernel_shape": [rows, columns], "strides": [stride] * 2, "dilations": [dilation] * 2}
        made = self._append("Conv", inputs, shape, group=groups, pads=list(around), **sides)
        return self.activate(made, act)

    def depthwise(self, x: str, stride: int = 1, act: str | None = "clip", kernel: int = 3) -> str:
        """Append a depthwise convolution."""
        return self.conv(x, self.channels(x), kernel, stride, act, groups=self.channels(x))

    def separable(self, x: str, out: int, stride: int = 1) -> str:
        """Append a depthwise 3×3 and a 1×1 convolution."""
        return self.conv(self.depthwise(x, stride), out, 1)

    def transposed(self, x: str, out: int, kernel: int = 3, act: str | None = "clip") -> str:
        """Append a transposed convolution that doubles the image."""
        fan_in = self.channels(x) * kernel**2 / 4
        weights = self._random.normal(0, (2 / fan_in) ** 0.5, (self.channels(x), out, kernel, kernel))
        inputs = [x, self._constant(weights), self._constant(self._random.normal(0, 0.1, out))]
        height, width = self.shapes[x][2:]
        extra = 2 * (kernel // 2) + 2 - kernel
        sides = {"kernel_shape": [kernel] * 2, "strides": [2, 2], "pads": [kernel // 2] * 4}
        shape = (1, out, 2 * height, 2 * width)
        made = self._append("ConvTranspose", inputs, shape, output_padding=[extra] * 2, **sides)
        return self.activate(made, act)

    def activate(self, x: str, act: str | None) -> str:
        """Append an activation: clip (0…6), clip0 (from 0), relu, leaky, sigmoid, tanh, silu, or None."""
        shape = self.shapes[x]
        zero, six = np.float32(0), np.float32(6)
        if act is None:
            return x
        if act == "clip":
            return self._append("Clip", [x, self._constant(zero), self._constant(six)], shape)
        if act == "clip0":
            return self._append("Clip", [x, self._constant(zero)], shape)
        if act == "leaky":
            return self._append("LeakyRelu", [x], shape, alpha=0.1)
        if act == "silu":
            return self._append("Mul", [x, self._append("Sigmoid", [x], shape)], shape)
        return self._append({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[act], [x], shape)

    def pool(self, x: str, kernel: int = 2, stride: int = 2, op: str = "MaxPool", pad: int = 0) -> str:
        """Append a pool; where it is padded, an average does not count the border."""
        height, width = ((side + 2 * pad - kernel) // stride + 1 for side in self.shapes[x][2:])
        sides = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self._append(op, [x], (1, self.channels(x), height, width), **sides)

    def add(self, a: str, b: str, act: str | None = None) -> str:
        """Append a sum."""
        return self.activate(self._append("Add", [a, b], self.shapes[a]), act)

    def concat(self, *tensors: str) -> str:
        """Append a concatenation along the channels."""
        channels = sum(self.channels(x) for x in tensors)
        return self._append("Concat", list(tensors), (1, channels, *self.shapes[tensors[0]][2:]), axis=1)

    def scale(self, x: str, y: str) -> str:
        """Append the product of a map and one number a channel."""
        return self._append("Mul", [x, y], self.shapes[x])

    def upsample(self, x: str, factor: int = 2) -> str:
        """Append a nearest Resize, as PyTorch exports it."""
        channels, height, width = self.shapes[x][1:]
        scales = self._constant(np.asarray([1, 1, factor, factor], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._append("Resize", [x, "", scales], (1, channels, height * factor, width * factor), **how)

    def shuffle(self, x: str, groups: int) -> str:
        """Append ShuffleNet's channel shuffle."""
        channels, height, width = self.shapes[x][1:]
        split = (1, groups, channels // groups, height, width)
        apart = self.reshape(x, split)
        order = [0, 2, 1, 3, 4]
        turned = self._append("Transpose", [apart], tuple(split[axis] for axis in order), perm=order)
        return self.reshape(turned, (1, channels, height, width))

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        """Append a reshape."""
        return self._append("Reshape", [x, self._constant(np.asarray(shape, np.int64))], shape)

    def permute(self, x: str, order: tuple[int, ...]) -> str:
        """Append a transpose."""
        return self._append("Transpose", [x], tuple(self.shapes[x][axis] for axis in order), perm=list(order))

    def part(self, x: str, first: int, last: int) -> str:
        """Append a slice of the channels."""
        bounds = [self._constant(np.asarray([value], np.int64)) for value in (first, last, 1)]
        return self._append("Slice", [x, *bounds], (1, last - first, *self.shapes[x][2:]))

    def mean(self, x: str) -> str:
        """Append a global average pool."""
        return self._append("GlobalAveragePool", [x], (1, self.channels(x), 1, 1))

    def dense(self, x: str, out: int, act: str | None = None) -> str:
        """Append a fully connected layer, behind a Flatten where its input is a map."""
        shape = self.shapes[x]
        size = int(np.prod(shape[1:]))
        if len(shape) > 2:
            x = self._append("Flatten", [x], (1, size))
        weights = self._random.normal(0, size**-0.5, (out, size))
        inputs = [x, self._constant(weights), self._constant(self._random.normal(0, 0.1, out))]
        return self.activate(self._append("Gemm", inputs, (1, out), transB=1), act)

    def head(self, x: str, classes: int) -> str:
        """Append a global average pool and a fully connected layer."""
        return self.dense(self.mean(x), classes)

    def softmax(self, x: str) -> str:
        """Append a softmax along the last axis."""
        return self._append("Softmax", [x], self.shapes[x], axis=-1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """Return the network, with every shape inside."""
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, self.shapes["image"])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in outputs],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)

    def _constant(self, values: npt.ArrayLike) -> str:
        name = f"constant{len(self._weights)}"
        array = np.asarray(values)
        array = array if np.issubdtype(array.dtype, np.integer) else array.astype(np.float32)
        self._weights.append(numpy_helper.from_array(array, name))
        return name

    def _append(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape
        return name
