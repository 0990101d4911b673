"""Small ONNX graphs for the conformance suite: one input, seeded weights, every tensor's shape in the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 8
"""The newest that nncase 1.9 reads."""


class Graph:
    """Appends nodes to a chain; ``at`` is the tensor that the next one reads and may be set to branch off earlier."""

    def __init__(self, channels: int = 3, height: int = 16, width: int = 16, *, seed: int = 0, opset: int = 13) -> None:
        self.image = (channels, height, width)
        self.opset = opset
        self.at = "image"
        self.outputs: list[str] = []
        self.random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._shapes: dict[str, tuple[int, ...]] = {"image": (1, *self.image)}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor ``at``, batch included."""
        if self.at not in self._shapes:
            for value in self._built([self.at]).graph.output:
                self._shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        return self._shapes[self.at]

    def constant(self, values: object, dtype: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a vector of int64 and return its name."""
        return self.constant(values, np.int64)

    def op(self, kind: str, *others: str, **attributes: object) -> Self:
        """Apply an operator to the tensor ``at`` and further inputs."""
        return self.node(kind, (self.at, *others), **attributes)

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: object) -> Self:
        """Append a node; its first output becomes ``at``."""
        number = len(self._nodes)
        names = [f"{kind.lower()}{number}" + (f"_{i}" if i else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{number}", **attributes))
        self.at = names[0]
        return self

    def conv(
        self,
        out: int,
        kernel: int | tuple[int, int] = 3,
        stride: int = 1,
        act: str = "",
        *,
        groups: int = 1,
        pads: Sequence[int] | None = None,
        dilation: int = 1,
        bias: bool = True,
        gain: float | Sequence[float] = 1.0,
        edge: float = 0,
    ) -> Self:
        """Append a convolution and its activation.

        Args:
            out: its channels.
            kernel: its side, or height and width.
            stride: of both directions.
            act: see ``act``.
            groups: of channels.
            pads: top, left, bottom, right; "same" without it.
            dilation: of both directions.
            bias: whether it has one.
            gain: of the weights and the bias; one for all or one a channel.
            edge: added to the kernel's first row and taken from its last: rows inside the map see the difference of
                neighbours, and a row beside it, which nncase computes and crops, the whole.
        """
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        fan_in = self.shape[1] // groups * sides[0] * sides[1]
        gains = np.broadcast_to(np.asarray(gain, np.float64), out)
        weights = self.random.normal(0, (2 / fan_in) ** 0.5, (out, self.shape[1] // groups, *sides))
        weights += _edged(edge, sides[0])
        inputs = [self.constant(weights * gains[:, None, None, None])]
        if bias:
            inputs.append(self.constant(self.random.normal(0, 0.1, out) * gains))
        return self.op(
            "Conv",
            *inputs,
            kernel_shape=list(sides),
            strides=[stride] * 2,
            pads=[dilation * (side // 2) for side in sides] * 2 if pads is None else list(pads),
            dilations=[dilation] * 2,
            group=groups,
        ).act(act)

    def depthwise(self, stride: int = 1, act: str = "", *, kernel: int = 3, multiplier: int = 1) -> Self:
        """Append a convolution with one group a channel."""
        channels = self.shape[1]
        return self.conv(channels * multiplier, kernel, stride, act, groups=channels)

    def transposed(
        self, out: int, kernel: int, stride: int, pads: Sequence[int], output: Sequence[int] = (), edge: float = 0
    ) -> Self:
        """Append a ConvTranspose; ``output`` is its output_padding, ``edge`` as a convolution has it."""
        weights = self.constant(self.random.normal(0, 0.3, (self.shape[1], out, kernel, kernel)) + _edged(edge, kernel))
        bias = self.constant(self.random.normal(0, 0.1, out))
        attributes = {"output_padding": list(output)} if output else {}
        return self.op(
            "ConvTranspose",
            *(weights, bias),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=list(pads),
            **attributes,
        )

    def act(self, name: str) -> Self:
        """Append an activation by its short name, "" for none."""
        x = self.at
        match name:
            case "":
                return self
            case "relu":
                return self.op("Relu")
            case "clip":
                return self.clip(0, 6)
            case "clip0":
                return self.clip(0)
            case "leaky":
                return self.op("LeakyRelu", alpha=0.1)
            case "silu":
                return self.node("Mul", [x, self.op("Sigmoid").at])
            case "hardswish-clip":
                three, six = self.constant(3), self.constant(6)
                gate = self.op("Add", three).clip(0, 6).at
                return self.node("Mul", [x, gate]).op("Div", six)
            case "hardswish-hardsigmoid":
                return self.node("Mul", [x, self.op("HardSigmoid", alpha=1 / 6, beta=0.5).at])
            case "gelu":
                inner = self.op("Div", self.constant(2**0.5)).op("Erf").op("Add", self.constant(1)).at
                return self.node("Mul", [x, inner]).op("Mul", self.constant(0.5))
            case "gelu-tanh":
                cubed = self.op("Pow", self.constant(3)).op("Mul", self.constant(0.044715)).at
                inner = self.node("Add", [x, cubed]).op("Mul", self.constant((2 / np.pi) ** 0.5)).op("Tanh").at
                half = self.op("Add", self.constant(1)).at
                return self.node("Mul", [x, half]).op("Mul", self.constant(0.5))
            case "mish":
                return self.node("Mul", [x, self.op("Softplus").op("Tanh").at])
            case "prelu":
                slopes = self.random.uniform(0.05, 0.4, (self.shape[1], 1, 1))
                return self.op("PRelu", self.constant(slopes))
        return self.op(name)

    def clip(self, low: float | None = None, high: float | None = None) -> Self:
        """Append a Clip in the form of the graph's opset."""
        if self.opset < 11:
            bounds = {name: float(v) for name, v in (("min", low), ("max", high)) if v is not None}
            return self.op("Clip", **bounds)
        inputs = ["" if bound is None else self.constant(bound) for bound in (low, high)]
        return self.op("Clip", *(inputs if inputs[1] else inputs[:1]))

    def pool(
        self, kernel: int = 2, stride: int = 2, kind: str = "MaxPool", pads: Sequence[int] = (0,) * 4, **attributes: int
    ) -> Self:
        """Append a MaxPool or AveragePool."""
        return self.op(kind, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=list(pads), **attributes)

    def batch_norm(self) -> Self:
        """Append a BatchNormalization with weights unlike the identity's."""
        low_high = ((0.5, 1.5), (-0.3, 0.3), (-0.2, 0.2), (0.5, 2.0))  # scale, shift, mean, variance
        values = [self.constant(self.random.uniform(*range_, self.shape[1])) for range_ in low_high]
        return self.op("BatchNormalization", *values)

    def gemm(self, out: int, *, bias: bool = True) -> Self:
        """Append a fully connected layer on a vector."""
        inside = self.shape[-1]
        weights = self.constant(self.random.normal(0, (2 / inside) ** 0.5, (out, inside)))
        biases = [self.constant(self.random.normal(0, 0.1, out))] if bias else []
        return self.op("Gemm", weights, *biases, transB=1)

    def matmul(self, out: int) -> Self:
        """Append a product with a constant matrix."""
        inside = self.shape[-1]
        return self.op("MatMul", self.constant(self.random.normal(0, (2 / inside) ** 0.5, (inside, out))))

    def global_mean(self) -> Self:
        """Append a GlobalAveragePool and a Flatten."""
        return self.op("GlobalAveragePool").op("Flatten", axis=1)

    def resize(self, mode: str, coordinates: str, factor: float = 2.0, **attributes: object) -> Self:
        """Append a Resize by a factor."""
        scales = self.constant([1, 1, factor, factor])
        kept = {"mode": mode, "coordinate_transformation_mode": coordinates, **attributes}
        if mode == "nearest":
            kept.setdefault("nearest_mode", "floor")
        return self.op("Resize", "", scales, **kept)

    def squeeze_excite(self, squeezed: int = 4, gate: str = "Sigmoid", act: str = "relu") -> Self:
        """Append the block that scales every channel by a function of all channels' means."""
        x, channels = self.at, self.shape[1]
        scale = self.op("GlobalAveragePool").conv(squeezed, 1, act=act).conv(channels, 1, act=gate).at
        return self.node("Mul", [x, scale])

    def out(self, *tensors: str) -> Self:
        """Set the graph's outputs; without it there is one, ``at``."""
        self.outputs = list(tensors)
        return self

    def model(self) -> onnx.ModelProto:
        """Return the checked model."""
        model = self._built(self.outputs or [self.at])
        onnx.checker.check_model(model)
        return model

    def _built(self, outputs: Sequence[str]) -> onnx.ModelProto:
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.image])
        results = [onnx.ValueInfoProto(name=name) for name in outputs]  # their types are inferred
        graph = helper.make_graph(self._nodes, "network", [given], results, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = IR_VERSION
        return onnx.shape_inference.infer_shapes(model)  # nncase wants every tensor's shape in the file


def _edged(edge: float, rows: int) -> np.ndarray:
    """Return what is added to a kernel's rows: ``edge`` to the first, its negative to the last."""
    added = np.zeros((rows, 1))
    added[0] += edge
    added[-1] -= edge
    return added
