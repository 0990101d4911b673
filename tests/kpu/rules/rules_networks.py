"""For every rule: networks that break it, and networks that just do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from kpu.conformance.conformance_graph import Graph

Build = Callable[[], Graph]


@dataclass(frozen=True)
class Pair:
    """What a rule finds something in, and what not.

    Attributes:
        breaks: networks that it finds something in.
        holds: their like that it finds nothing in.
        raw: judged as nncase alone would take them.
        version: of the kmodel.
    """

    breaks: Sequence[Build]
    holds: Sequence[Build]
    raw: bool = True
    version: int = 5


def conv(side: int = 16, channels: int = 3, **options: object) -> Graph:
    return Graph(channels, side, side).conv(8, **{"act": "clip", **options})  # type: ignore[arg-type]


def branch(kind: str, *, channels: int = 8, side: int = 16, other: int | None = None) -> Graph:
    """Two 1×1 convolutions of one image, put together."""
    graph = Graph(3, side, side).conv(channels, 1)
    first = graph.at
    graph.at = "image"
    options = {"axis": 1} if kind == "Concat" else {}
    return graph.node(kind, [first, graph.conv(other or channels, 1).at], **options)


def pad(graph: Graph) -> Graph:
    return graph.op("Pad", graph.integers(0, 0, 1, 1, 0, 0, 1, 1))


def with_number(graph: Graph, kind: str, number: object) -> Graph:
    return graph.op(kind, graph.constant(number))


def cut(graph: Graph, axis: int, start: int, end: int, step: int = 1) -> Graph:
    return graph.op("Slice", graph.integers(start), graph.integers(end), graph.integers(axis), graph.integers(step))


def every_other(graph: Graph) -> Graph:
    return graph.op("Slice", graph.integers(0, 0), graph.integers(99, 99), graph.integers(2, 3), graph.integers(2, 2))


def split(*, beside: bool, act: str = "clip", half: int = 1) -> Graph:
    """A convolution on one half of a map, and on the other too or joined with it.

    All channels reach both ends of the clamp, so that both halves have the range of the whole.
    """
    graph = Graph().conv(16, gain=3)
    graph = graph.clip(0, 1) if act == "clip" else graph.act(act)
    parts = [graph.node("Split", [graph.at], outputs=2, axis=1).at]
    parts.append(f"{parts[0]}_1")
    graph.at = parts[half]
    first = graph.conv(8, act="clip").at
    graph.at = parts[1 - half]
    return graph.node("Mul", [first, parts[1 - half]]) if beside else graph.out(first, graph.conv(8).at)


def shared_with_pool() -> Graph:
    graph = conv()
    start = graph.at
    first = graph.pool().at
    graph.at = start
    return graph.out(first, graph.conv(8).at)


def tiny_channel(gain: float) -> Graph:
    return Graph(8).conv(8, gain=[1, 1, 1, gain, 1, 1, 1, 1])


def tiny_behind_norm(scale: float) -> Graph:
    """A convolution that the BatchNormalization behind it scales."""
    graph = Graph(8).conv(8, bias=False)
    values = [np.full(8, scale), np.zeros(8), np.zeros(8), np.ones(8)]
    return graph.op("BatchNormalization", *(graph.constant(value) for value in values))


def squeezed(*, excite: bool) -> Graph:
    graph = conv()
    return graph.squeeze_excite() if excite else graph.node("Mul", [graph.at, graph.conv(8, act="Sigmoid").at])


def sizes(*, given: bool) -> Graph:
    graph = conv(8)
    if not given:
        return graph.resize("nearest", "asymmetric")
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.op("Resize", "", "", graph.integers(1, 8, 16, 16), mode="nearest", **attributes)


def matrices() -> Graph:
    """A product of two computed matrices."""
    graph = conv(8)
    graph.op("Reshape", graph.integers(1, 8, 64))
    rows = graph.at
    columns = graph.op("Transpose", perm=[0, 2, 1]).at
    return graph.node("MatMul", [rows, columns])


def strides(down: int, across: int) -> Graph:
    graph = Graph()
    weights = graph.constant(graph.random.normal(0, 0.3, (8, 3, 3, 3)))
    return graph.op("Conv", weights, kernel_shape=[3, 3], strides=[down, across], pads=[1] * 4)


def transposed(kernel: int = 3, padding: int = 1, act: str = "") -> Graph:
    return Graph(8, 8, 8).transposed(8, kernel, 2, (padding,) * 4).act(act)


def fragments(widest: int) -> Graph:
    """Maps of 1.0, 0.5 and more MiB: with 80 channels, each pair fits and the three in a row do not."""
    return Graph(1, 128, 128).conv(64, 1, act="clip").conv(32, 1, act="clip").conv(widest, 1, act="clip")


PAIRS: dict[str, Pair] = {
    # Wrong numbers
    "average-pool-padding": Pair(
        [lambda: conv().pool(3, 2, "AveragePool", (1,) * 4, count_include_pad=1)],
        [
            lambda: conv().pool(3, 2, "AveragePool", (1,) * 4),
            lambda: conv().pool(3, 2, "AveragePool", count_include_pad=1),
        ],
    ),
    "clipped-minimum": Pair(
        [
            lambda: Graph().conv(8).clip(0.5, 2),
            lambda: with_number(conv(), "Add", 0.5),
            lambda: with_number(conv(), "Mul", -0.5),
            lambda: conv().act("Sigmoid"),
        ],
        [
            lambda: Graph().conv(8).clip(-1, 1),
            lambda: with_number(conv(), "Sub", 0.5),
            lambda: with_number(Graph().conv(8), "Add", 0.5),
            lambda: conv().act("gelu-tanh"),
            lambda: conv().act("silu"),
        ],
    ),
    "curved-activation": Pair(
        [lambda: Graph().conv(8).op("Exp"), lambda: Graph().conv(8).op("Floor")],
        [lambda: Graph().conv(8).clip(-2, 2).op("Exp"), lambda: Graph().conv(8).op("Elu"), lambda: conv().op("Floor")],
    ),
    "depth-multiplier": Pair(
        [lambda: Graph(4).depthwise(multiplier=2)],
        [lambda: Graph(4).depthwise(), lambda: Graph(4).depthwise(kernel=5, multiplier=2)],
    ),
    "double-stride": Pair(
        [
            lambda: Graph(8).depthwise(2).conv(8, 1, 2),
            lambda: Graph(8).depthwise(2, "clip").conv(8, 1, 2),
            lambda: every_other(conv()).conv(8, 1, 2),
        ],
        [
            lambda: Graph(8).depthwise(2, "clip").conv(8, 1),
            lambda: Graph(8).depthwise(2, "clip").conv(8, 3, 2),
            lambda: Graph(8).depthwise(2, "relu").conv(8, 1, 2),
            lambda: Graph(8).conv(8, 3, 2, "clip").conv(8, 1, 2),
        ],
    ),
    "leaky-slope": Pair(
        [lambda: Graph().conv(8).op("LeakyRelu", alpha=1.5)],
        [lambda: Graph().conv(8).op("LeakyRelu", alpha=1.0), lambda: Graph().conv(8).op("LeakyRelu", alpha=-0.2)],
    ),
    "padded-function": Pair(
        [lambda: pad(Graph().conv(8)).act("Sigmoid"), lambda: with_number(pad(Graph().conv(8)), "Add", 0.5)],
        [
            lambda: pad(Graph().conv(8)).act("silu"),
            lambda: pad(Graph().conv(8)).act("relu"),
            lambda: pad(Graph().conv(8).act("Sigmoid")),
        ],
    ),
    "resize-cubic": Pair(
        [lambda: conv(8).resize("cubic", "half_pixel")], [lambda: conv(8).resize("linear", "align_corners")]
    ),
    "resize-linear": Pair(
        [lambda: conv(8).resize("linear", "half_pixel")],
        [
            lambda mode=mode: conv(8).resize("linear", mode)
            for mode in ("pytorch_half_pixel", "align_corners", "asymmetric")
        ],
    ),
    "resize-nearest": Pair(
        [
            lambda: conv(8).resize("nearest", "half_pixel"),
            lambda: conv(8).resize("nearest", "align_corners"),
            lambda: conv(8).resize("nearest", "asymmetric", 1.5, nearest_mode="round_prefer_floor"),
            lambda: conv(8).resize("nearest", "pytorch_half_pixel", 0.5, nearest_mode="floor"),
            lambda: conv(8).resize("nearest", "asymmetric", nearest_mode="ceil"),
        ],
        [
            lambda: conv(8).resize("nearest", "asymmetric"),
            lambda: conv(8).resize("nearest", "half_pixel", nearest_mode="round_prefer_floor"),
            lambda: conv(8).resize("nearest", "align_corners", 1.5, nearest_mode="round_prefer_floor"),
            lambda: conv(8).resize("nearest", "pytorch_half_pixel", 3.0, nearest_mode="round_prefer_ceil"),
        ],
    ),
    "slice-rows": Pair(
        [lambda: cut(Graph().conv(8, act="leaky"), 2, 4, 12).conv(8), lambda: cut(Graph(), 3, 0, 8).conv(8)],
        [
            lambda: cut(Graph().conv(8, act="leaky"), 1, 0, 4).conv(8),
            lambda: cut(Graph().conv(8, act="leaky"), 2, 4, 12),
            lambda: cut(conv(), 2, 4, 12).conv(8),
        ],
    ),
    "transposed-clip": Pair([lambda: transposed(act="clip")], [lambda: transposed(act="relu"), transposed]),
    "weight-loads": Pair([lambda: Graph(512, 4, 4).conv(385)], [lambda: Graph(512, 4, 4).conv(384)]),
    # Does not compile
    "clip-place": Pair(
        [lambda: branch("Concat").act("clip"), lambda: Graph().act("clip")],
        [lambda: branch("Concat").act("relu"), lambda: branch("Mul").act("clip"), conv],
    ),
    "kpu-memory": Pair(
        [lambda: fragments(80), lambda: Graph(3, 240, 320).conv(16).conv(16)],
        [lambda: fragments(64), lambda: Graph(3, 240, 320).conv(16)],
    ),
    "pool-4x4-stride": Pair(
        [lambda: conv().pool(4, 2)], [lambda: conv().pool(4, 4), lambda: Graph(8).depthwise().pool(4, 2)]
    ),
    "pool-activation": Pair(
        [lambda: Graph().conv(8).pool().act("relu"), lambda: Graph().conv(8).pool().act("silu")],
        [lambda: Graph().conv(8).act("relu").pool(), lambda: Graph().conv(8).pool(3, 2).act("relu")],
    ),
    "pool-ceil-mode": Pair(
        [lambda: conv(17).pool(ceil_mode=1)], [lambda: conv(16).pool(ceil_mode=1), lambda: conv(17).pool()]
    ),
    "pool-dilation": Pair(
        [lambda: conv().op("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])], [lambda: conv().pool()]
    ),
    "refused": Pair([lambda: Graph().conv(8).act("gelu")], [lambda: Graph().conv(8).act("gelu-tanh")]),
    "resize-sizes": Pair([lambda: sizes(given=True)], [lambda: sizes(given=False)]),
    "split-offset": Pair(
        [lambda: split(beside=True), lambda: split(beside=False), lambda: split(beside=True, act="leaky")],
        [lambda: split(beside=False, half=0), lambda: split(beside=True, half=0)],
    ),
    "transposed-kernel": Pair([lambda: transposed(4), lambda: transposed(2, 0)], [lambda: transposed(3)]),
    "transposed-padding": Pair([lambda: transposed(3, 0)], [lambda: transposed(3, 1)]),
    # The CPU
    "arithmetic": Pair(
        [lambda: branch("Mul"), lambda: branch("Add", channels=513, side=4), lambda: branch("Add", side=2)],
        [lambda: branch("Add"), lambda: Graph().conv(8).act("silu")],
    ),
    "batch-norm": Pair(
        [lambda: Graph(8).batch_norm().conv(8), lambda: conv().batch_norm()],
        [lambda: Graph().conv(8).batch_norm()],
        raw=False,
    ),
    "behind-cpu": Pair(
        [lambda: Graph().conv(8, 5, act="clip"), lambda: Graph().act("Sigmoid")],
        [conv, lambda: Graph().conv(8, 5)],
    ),
    "constant-arithmetic": Pair(
        [lambda: with_number(conv(), "Div", np.full((1, 8, 1, 1), 2.0))],
        [
            lambda: with_number(Graph().conv(8), "Mul", np.full((1, 8, 1, 1), 2.0)),
            lambda: with_number(conv(), "Div", 2.0),
        ],
    ),
    "cpu-operator": Pair(
        [lambda: conv().op("Softmax", axis=1), lambda: pad(conv())], [conv, lambda: Graph().conv(8, 5)]
    ),
    "dilated-stride": Pair([lambda: conv(stride=2, dilation=2)], [lambda: conv(dilation=2), lambda: conv(stride=2)]),
    "global-pool": Pair(
        [lambda: conv().op("GlobalAveragePool").conv(8, 1), lambda: Graph(3, 8, 8).conv(8).pool(8, 8).conv(4, 1)],
        [lambda: conv().global_mean().gemm(5), lambda: Graph(3, 8, 8).conv(8).pool(4, 4)],
    ),
    "groups": Pair([lambda: Graph(8).conv(8, groups=2)], [lambda: Graph(8).conv(8), lambda: Graph(8).depthwise()]),
    "input-channels": Pair(
        [lambda: Graph(1025, 4, 4).conv(8, 1)],
        [lambda: Graph(1024, 4, 4).conv(8, 1), lambda: Graph(8, 4, 4).conv(1025, 1)],
    ),
    "kernel": Pair(
        [lambda: conv(kernel=5), lambda: conv(kernel=(1, 3)), lambda: conv(kernel=2, pads=(0,) * 4)],
        [lambda: conv(kernel=3), lambda: conv(kernel=1)],
    ),
    "map-height": Pair([lambda: Graph(1, 257, 4).conv(4)], [lambda: Graph(1, 256, 4).conv(4)]),
    "map-width": Pair([lambda: Graph(1, 4, 513).conv(4)], [lambda: Graph(1, 4, 512).conv(4)]),
    "output-channels": Pair([lambda: Graph(8, 4, 4).conv(1025, 1)], [lambda: Graph(8, 4, 4).conv(1024, 1)]),
    "pool-padding": Pair(
        [lambda: conv().pool(2, 1), lambda: conv(14).pool(pads=(1,) * 4)],
        [lambda: conv().pool(2, 1, pads=(0, 0, 1, 1)), lambda: conv().pool()],
    ),
    "pool-source": Pair(
        [
            lambda: Graph().pool(),
            lambda: Graph(8).depthwise().pool(),
            lambda: conv(stride=2).pool(),
            lambda: conv().pool().pool(),
            shared_with_pool,
        ],
        [lambda: conv().pool(), lambda: branch("Add").pool()],
    ),
    "pool-window": Pair([lambda: conv().pool(3, 2)], [lambda: conv().pool(), lambda: conv().pool(4, 4)]),
    "prelu": Pair(
        [lambda: Graph().conv(8).act("prelu")],
        [lambda: Graph().conv(8).op("LeakyRelu"), lambda: with_number(Graph().conv(8), "PRelu", [0.2])],
    ),
    "product": Pair(
        [matrices, lambda: conv().global_mean().gemm(8).act("relu").gemm(4)],
        [lambda: conv().global_mean().gemm(8)],
        version=4,
    ),
    "resize": Pair([lambda: conv(8).resize("nearest", "asymmetric")], [lambda: conv(8)]),
    "transpose": Pair(
        [lambda: conv().op("Transpose", perm=[0, 2, 3, 1])],
        [lambda: conv().op("GlobalAveragePool").op("Transpose", perm=[0, 2, 3, 1])],
    ),
    # Memory
    "activation-before-slice": Pair(
        [lambda: Graph(8).depthwise(2, "relu").conv(8, 1), lambda: Graph(8).depthwise(2, "leaky").conv(8, 1)],
        [
            lambda: Graph(8).depthwise(2, "clip").conv(8, 1),
            lambda: Graph(8).depthwise(1, "relu").conv(8, 1),
            lambda: Graph(8).depthwise(2, "relu").conv(8, 3),
        ],
    ),
    "concat": Pair([lambda: branch("Concat")], [lambda: branch("Add")]),
    "depthwise-stride": Pair(
        [lambda: Graph(8).depthwise(2), lambda: Graph(8).depthwise(2, "clip").conv(8)],
        [lambda: Graph(8).depthwise(2, "clip").conv(8, 1), lambda: Graph(8).depthwise()],
    ),
    "dilation": Pair([lambda: conv(dilation=2)], [conv, lambda: conv(dilation=2, stride=2)]),
    "odd-stride": Pair([lambda: conv(17, stride=2)], [lambda: conv(16, stride=2), lambda: conv(17)]),
    "padding": Pair(
        [lambda: conv(pads=(0,) * 4), lambda: conv(pads=(2,) * 4), lambda: conv(kernel=1, pads=(1,) * 4)],
        [conv, lambda: conv(stride=2, pads=(1, 1, 0, 0)), lambda: conv(stride=2, pads=(0, 0, 1, 1))],
    ),
    "residual-add": Pair(
        [lambda: branch("Add")], [lambda: with_number(Graph().conv(8), "Add", 1.0), lambda: branch("Mul")]
    ),
    "small-map": Pair(
        [lambda: Graph(8, 3, 3).conv(8)],
        [lambda: Graph(8, 4, 4).conv(8), lambda: conv().op("GlobalAveragePool").conv(8, 1)],
    ),
    "split": Pair(
        [
            lambda: split(beside=False, half=0),
            lambda: split(beside=False, act="leaky", half=0),
            lambda: split(beside=True, half=0),
        ],
        [lambda: split(beside=True), lambda: cut(conv(), 1, 0, 4), lambda: cut(conv(), 2, 0, 8).conv(8)],
    ),
    "stride": Pair(
        [lambda: conv(18, stride=3), lambda: strides(2, 1)], [lambda: conv(stride=2), lambda: conv(kernel=5, stride=3)]
    ),
    "strided-output": Pair([lambda: conv(6, stride=2)], [lambda: conv(8, stride=2)]),
    "tf-same-padding": Pair(
        [lambda: conv(stride=2, pads=(0, 0, 1, 1))], [lambda: conv(stride=2), lambda: conv(pads=(0, 0, 1, 1))]
    ),
    "transposed": Pair([transposed], [lambda: Graph(8, 8, 8).transposed(8, 1, 1, (0,) * 4), conv]),
    # Accuracy
    "coarse-activation": Pair(
        [lambda: with_number(Graph().conv(8), "Pow", 2.0)], [lambda: Graph().conv(8).act("gelu-tanh")]
    ),
    "cropped-range": Pair(
        [
            lambda: conv(pads=(0,) * 4).conv(8),
            lambda: conv(pads=(0, 0, 1, 1)).act("relu").conv(8),
            lambda: transposed().conv(8),
        ],
        [lambda: conv().conv(8), lambda: conv(pads=(0,) * 4), transposed, lambda: conv(kernel=1).conv(8)],
    ),
    "lookup-table": Pair([lambda: Graph().op("Exp")], [lambda: Graph().act("Sigmoid"), lambda: conv().op("Exp")]),
    "non-monotonic-activation": Pair(
        [
            lambda: Graph().conv(8).act("silu"),
            lambda: Graph().conv(8).act("hardswish-clip"),
            lambda: Graph().conv(8).act("hardswish-hardsigmoid"),
            lambda: Graph(opset=14).conv(8).op("HardSwish"),
            lambda: Graph().conv(8).act("mish"),
            lambda: Graph().conv(8).op("Abs"),
        ],
        [
            *(lambda act=act: Graph().conv(8).act(act) for act in ("relu", "clip", "leaky", "Sigmoid", "Tanh", "Elu")),
            lambda: conv().act("silu"),
        ],
    ),
    "product-on-kpu": Pair(
        [lambda: conv().global_mean().gemm(5), lambda: conv().op("GlobalAveragePool").conv(5, 1)],
        [lambda: conv().conv(8, 1)],
    ),
    "slice-rows-bounded": Pair(
        [lambda: cut(conv(), 2, 4, 12).conv(8)],
        [lambda: cut(conv(), 1, 0, 4).conv(8), lambda: cut(Graph().conv(8), 2, 4, 12).conv(8)],
    ),
    "straight-function": Pair(
        [
            lambda: with_number(Graph().conv(8), "Mul", 0.7),
            lambda: with_number(Graph().conv(8), "Sub", 1.0),
            lambda: with_number(conv(), "Div", 3.0),
        ],
        [
            lambda: with_number(Graph().conv(8), "Mul", 0.25),
            lambda: with_number(Graph().conv(8), "Div", 2.0),
            lambda: Graph().conv(8).op("Elu"),
            lambda: conv().op("Elu"),
            lambda: conv().act("leaky"),
        ],
    ),
    "squeeze-excitation": Pair([lambda: squeezed(excite=True)], [lambda: squeezed(excite=False)]),
    "tiny-weights": Pair(
        [lambda: tiny_channel(0.005), lambda: tiny_behind_norm(0.005)],
        [lambda: tiny_channel(0.0), lambda: tiny_channel(1.0)],
        raw=False,
    ),
}
"""By the rule's name."""
