"""Cases: pools, sums, concats, resizes, heads and every other operator."""

from __future__ import annotations

from collections.abc import Callable

from conformance_case import Case, Row
from conformance_graph import Graph


def _residual(channels: int = 8, side: int = 16, act: str = "clip", kind: str = "Add", *, kernel: int = 3) -> Graph:
    graph = Graph(3, side, side).conv(channels, 1, act="clip")
    skip = graph.at
    return graph.node(kind, [graph.conv(channels, kernel).at, skip]).act(act)


def _two(kind: str, *, act: str = "", after: bool = False) -> Graph:
    """Two convolutions' results put together by an operator."""
    graph = Graph().conv(8, act="clip")
    first = graph.at
    graph.at = "image"
    graph.node(kind, [first, graph.conv(8, act="clip").at]).act(act)
    return graph.conv(8, 1, act="clip") if after else graph


def _three(kind: str) -> Graph:
    graph = Graph()
    tensors = []
    for _ in range(3):
        graph.at = "image"
        tensors.append(graph.conv(8, act="clip").at)
    return graph.node(kind, tensors)


def _add_broadcast(shape: str) -> Graph:
    graph = Graph().conv(8, act="clip")
    first = graph.at
    if shape == "channels":
        graph.op("GlobalAveragePool")
    elif shape == "one-map":
        graph.conv(1, act="clip")
    return graph.node("Add", [first, graph.at])


def _add_self() -> Graph:
    graph = Graph().conv(8, act="clip")
    return graph.node("Add", [graph.at, graph.at])


def _add_image() -> Graph:
    graph = Graph()
    return graph.node("Add", [graph.conv(3).at, "image"])


def _add_2d() -> Graph:
    graph = Graph().conv(8, act="clip").global_mean()
    first = graph.at
    return graph.node("Add", [graph.gemm(8).at, first])


def _add_strided() -> Graph:
    graph = Graph().conv(8, act="clip")
    skip = graph.at
    main = graph.conv(16, 3, 2, "clip").conv(16).at
    graph.at = skip
    return graph.node("Add", [main, graph.conv(16, 1, 2).at]).act("clip")


def _concat(*, axis: int = 1, after: bool = False, image: bool = False) -> Graph:
    graph = Graph().conv(8, act="clip")
    first = graph.at
    graph.at = "image"
    tensors = [first, "image" if image else graph.conv(8, act="clip").at]
    graph.node("Concat", tensors, axis=axis)
    return graph.conv(8, act="clip") if after else graph


def _pool_two_readers() -> Graph:
    graph = Graph().conv(8, act="clip").pool()
    start = graph.at
    first = graph.conv(8, act="clip").at
    graph.at = start
    return graph.out(first, graph.conv(8, 1, act="clip").at)


def _conv_read_beside_pool() -> Graph:
    """A convolution that a pool and another convolution read."""
    graph = Graph().conv(8, act="clip")
    start = graph.at
    first = graph.pool().conv(8, act="clip").at
    graph.at = start
    return graph.out(first, graph.conv(8, 1, act="clip").at)


def _constant_binary(kind: str, value: object, *, after: bool = False, before: bool = True) -> Graph:
    graph = Graph()
    if before:
        graph.conv(8, act="clip0")
    graph.op(kind, graph.constant(value))
    return graph.conv(8, act="clip") if after else graph


def _per_channel(kind: str) -> Graph:
    graph = Graph().conv(8)
    return graph.op(kind, graph.constant(graph.random.uniform(0.5, 2, (1, 8, 1, 1))))


def _normalised_image() -> Graph:
    graph = Graph()
    graph.op("Sub", graph.constant([[[0.1]], [[0.2]], [[0.3]]]))
    return graph.op("Div", graph.constant([[[0.5]], [[0.6]], [[0.7]]])).conv(8, act="clip")


def _after_conv(kind: str, *, conv: bool = False, **attributes: object) -> Callable[[], Graph]:
    def build() -> Graph:
        graph = Graph().conv(8, act="clip").op(kind, **attributes)
        return graph.conv(8, 1, act="clip") if conv else graph

    return build


def _with_integers(kind: str, *vectors: tuple[int, ...], conv: bool = False, act: str = "clip") -> Callable[[], Graph]:
    def build() -> Graph:
        graph = Graph().conv(8, act=act)
        graph.op(kind, *(graph.integers(*values) for values in vectors))
        return graph.conv(8, 1, act="clip") if conv else graph

    return build


def _positive(kind: str) -> Graph:
    """An operator on values above zero."""
    return Graph().conv(8).clip(0.1, 4).op(kind)


def _upsample() -> Graph:
    graph = Graph(3, 8, 8, opset=9).conv(8, act="clip")
    return graph.op("Upsample", graph.constant([1, 1, 2, 2]), mode="nearest").conv(8, act="clip")


def _opset(opset: int) -> Graph:
    return Graph(opset=opset).conv(8, act="clip").pool().conv(16, act="leaky").op("GlobalAveragePool").op("Flatten")


def _gather() -> Graph:
    graph = Graph().conv(8, act="clip")
    return graph.op("Gather", graph.integers(0, 2, 4, 6), axis=1).conv(8, act="clip")


def _shuffle() -> Graph:
    """A channel shuffle, as ShuffleNet has it."""
    graph = Graph().conv(8, act="clip")
    graph.op("Reshape", graph.integers(1, 2, 4, 16, 16)).op("Transpose", perm=[0, 2, 1, 3, 4])
    return graph.op("Reshape", graph.integers(1, 8, 16, 16)).conv(8, act="clip")


def _yolo_tail() -> Graph:
    """What a YOLO head does with its map: reshape, transpose, sigmoid."""
    graph = Graph(3, 8, 8).conv(8, act="leaky").conv(30, 1)
    graph.op("Reshape", graph.integers(1, 5, 6, 64)).op("Transpose", perm=[0, 1, 3, 2])
    return graph.op("Sigmoid")


def _pad_mode(mode: str) -> Graph:
    graph = Graph().conv(8, act="clip")
    return graph.op("Pad", graph.integers(0, 0, 1, 1, 0, 0, 1, 1), mode=mode)


def _instance_norm() -> Graph:
    graph = Graph().conv(8, act="clip")
    scale, bias = (graph.constant(graph.random.uniform(low, high, 8)) for low, high in ((0.5, 1.5), (-0.3, 0.3)))
    return graph.op("InstanceNormalization", scale, bias)


def _layer_norm() -> Graph:
    graph = Graph(opset=17).conv(8, act="clip").global_mean()
    return graph.op("LayerNormalization", graph.constant([1.0] * 8), graph.constant([0.0] * 8), axis=-1)


def _attention() -> Graph:
    """A product of two computed matrices."""
    graph = Graph(3, 8, 8).conv(8, act="clip")
    graph.op("Reshape", graph.integers(1, 8, 64))
    rows = graph.at
    columns = graph.op("Transpose", perm=[0, 2, 1]).at
    return graph.node("MatMul", [rows, columns])


def _wide_head(inside: int, kind: str) -> Graph:
    graph = Graph(8, 4, 4).conv(inside, 1, act="clip") if inside <= 1024 else _wide_map(inside)
    if kind == "conv":
        return graph.op("GlobalAveragePool").conv(10, 1)
    graph.global_mean()
    return graph.gemm(10) if kind == "gemm" else graph.matmul(10)


def _wide_map(channels: int) -> Graph:
    graph = Graph(8, 4, 4).conv(channels // 2, 1, act="clip")
    first = graph.at
    graph.at = "image"
    return graph.node("Concat", [first, graph.conv(channels - channels // 2, 1, act="clip").at], axis=1)


def _head() -> Graph:
    return Graph().conv(8, act="clip").global_mean()


def _outputs(*, kinds: str) -> Graph:
    graph = Graph().conv(8, act="clip")
    start = graph.at
    first = graph.conv(4, 1).at
    graph.at = start
    if kinds == "maps":
        return graph.out(first, graph.conv(6, 3, 2).at)
    return graph.out(first, graph.global_mean().gemm(5).at)


def _wide_add() -> Graph:
    graph = Graph(1, 4, 600).conv(4, 5)
    first = graph.at
    graph.at = "image"
    return graph.node("Add", [first, graph.conv(4, 5).at])


def _chain_of_adds() -> Graph:
    graph = Graph()
    tensors = []
    for _ in range(3):
        graph.at = "image"
        tensors.append(graph.conv(8, act="clip").at)
    return graph.node("Add", tensors[:2]).op("Add", tensors[2])


def _concat_three() -> Graph:
    graph = Graph()
    tensors = []
    for kernel in (1, 3, 5):
        graph.at = "image"
        tensors.append(graph.conv(8, kernel, act="clip").at)
    return graph.node("Concat", tensors, axis=1).conv(8, 1, act="clip")


def _dense() -> Graph:
    """Layers that each read all before, as DenseNet has them."""
    graph = Graph().conv(8, act="clip")
    for _ in range(2):
        before = graph.at
        graph.node("Concat", [before, graph.conv(8, act="clip").at], axis=1)
    return graph.conv(8, 1, act="clip")


def _resize_sizes() -> Graph:
    graph = Graph(3, 8, 8).conv(8, act="clip")
    sizes = graph.integers(1, 8, 16, 16)
    return graph.op("Resize", "", "", sizes, mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric")  # fmt: skip


def _matmul_add() -> Graph:
    graph = _head().matmul(10)
    return graph.op("Add", graph.constant(graph.random.normal(0, 0.2, 10)))


def _squeezed() -> Graph:
    graph = Graph().conv(8, act="clip").op("GlobalAveragePool")
    return graph.op("Squeeze", graph.integers(2, 3))


def _reshaped_head() -> Graph:
    graph = Graph().conv(8, act="clip").op("GlobalAveragePool")
    return graph.op("Reshape", graph.integers(1, 8))


def _pad_input() -> Graph:
    graph = Graph()
    return graph.op("Pad", graph.integers(0, 0, 1, 1, 0, 0, 1, 1))


def _focus() -> Graph:
    """YOLOv5's first layer: four shifted halves of the image as channels."""
    graph = Graph()
    parts = []
    for top, left in ((0, 0), (1, 0), (0, 1), (1, 1)):
        graph.at = "image"
        starts, ends = graph.integers(top, left), graph.integers(16, 16)
        parts.append(graph.op("Slice", starts, ends, graph.integers(2, 3), graph.integers(2, 2)).at)
    return graph.node("Concat", parts, axis=1).conv(8, act="clip")


def _head_expand() -> Graph:
    graph = Graph().conv(8, act="clip").op("GlobalAveragePool")
    return graph.op("Expand", graph.integers(1, 8, 4, 4)).conv(8, 1)


CASES = [
    # Pools
    Case("pool-max-2x2", lambda: Graph().conv(8, act="clip").pool(), Row.NONE),
    Case("pool-max-2x2-conv", lambda: Graph().conv(8, act="clip").pool().conv(8, act="clip")),
    Case("pool-max-2x2-relu-before", lambda: Graph().conv(8, act="relu").pool().conv(8, act="clip")),
    Case("pool-max-2x2-plain", lambda: Graph().conv(8).pool()),
    Case("pool-max-2x2-s1", lambda: Graph().conv(8, act="clip").pool(2, 1)),
    Case("pool-max-2x2-s1-same", lambda: Graph().conv(8, act="clip").pool(2, 1, pads=(0, 0, 1, 1))),
    Case("pool-max-4x4", lambda: Graph().conv(8, act="clip").pool(4, 4)),
    Case("pool-max-4x4-s2", lambda: Graph().conv(8, act="clip").pool(4, 2)),
    Case("pool-max-3x3-s2", lambda: Graph().conv(8, act="clip").pool(3, 2), Row.CPU_POOL),
    Case("pool-max-3x3-s2-pads", lambda: Graph().conv(8, act="clip").pool(3, 2, pads=(1,) * 4), Row.CPU_POOL),
    Case("pool-max-3x3-s2-conv", lambda: Graph().conv(8, act="clip").pool(3, 2, pads=(1,) * 4).conv(8), Row.CPU_POOL),
    Case("pool-max-3x3-s1", lambda: Graph().conv(8, act="clip").pool(3, 1, pads=(1,) * 4), Row.CPU_POOL),
    Case("pool-max-3x3-s3", lambda: Graph(3, 18, 18).conv(8, act="clip").pool(3, 3), Row.CPU_POOL),
    Case("pool-max-5x5-spp", lambda: Graph().conv(8, act="clip").pool(5, 1, pads=(2,) * 4), Row.CPU_POOL),
    Case("pool-average-2x2", lambda: Graph().conv(8, act="clip").pool(kind="AveragePool")),
    Case("pool-average-2x2-s1", lambda: Graph().conv(8, act="clip").pool(2, 1, "AveragePool")),
    Case("pool-average-4x4", lambda: Graph().conv(8, act="clip").pool(4, 4, "AveragePool")),
    Case("pool-average-3x3-s2", lambda: Graph().conv(8, act="clip").pool(3, 2, "AveragePool", (1,) * 4)),
    Case(
        "pool-average-3x3-counting",
        lambda: Graph().conv(8, act="clip").pool(3, 2, "AveragePool", (1,) * 4, count_include_pad=1),
    ),
    Case("pool-average-7x7", lambda: Graph(3, 7, 7).conv(8, act="clip").pool(7, 1, "AveragePool")),
    Case("pool-average-8x8-whole", lambda: Graph(3, 8, 8).conv(8, act="clip").pool(8, 8, "AveragePool")),
    Case("pool-average-4x4-whole", lambda: Graph(3, 4, 4).conv(8, act="clip").pool(4, 4, "AveragePool")),
    Case("pool-odd", lambda: Graph(3, 17, 17).conv(8, act="clip").pool()),
    Case("pool-odd-conv", lambda: Graph(3, 17, 17).conv(8, act="clip").pool().conv(8)),
    Case("pool-odd-ceil", lambda: Graph(3, 17, 17).conv(8, act="clip").pool(ceil_mode=1)),
    Case("pool-even-ceil", lambda: Graph().conv(8, act="clip").pool(ceil_mode=1)),
    Case("pool-3x3-ceil", lambda: Graph().conv(8, act="clip").pool(3, 2, ceil_mode=1), Row.CPU_POOL),
    Case("pool-average-odd", lambda: Graph(3, 17, 17).conv(8, act="clip").pool(kind="AveragePool")),
    Case("pool-to-2", lambda: Graph(3, 4, 4).conv(8, act="clip").pool()),
    Case("pool-map-6", lambda: Graph(3, 6, 6).conv(8, act="clip").pool()),
    Case("pool-to-2-conv", lambda: Graph(3, 4, 4).conv(8, act="clip").pool().conv(8, act="clip")),
    Case("pool-4x4-map-8", lambda: Graph(3, 8, 8).conv(8, act="clip").pool(4, 4)),
    Case("pool-s1-map-4", lambda: Graph(3, 4, 4).conv(8, act="clip").pool(2, 1)),
    Case("pool-after-depthwise", lambda: Graph(8).depthwise(1, "clip").pool(), Row.CPU_POOL),
    Case("pool-after-depthwise-conv", lambda: Graph(8).depthwise(1, "clip").pool().conv(8, 1), Row.CPU_POOL),
    Case("pool-after-stride-2", lambda: Graph().conv(8, 3, 2, "clip").pool()),
    Case("pool-after-1x1", lambda: Graph().conv(8, 1, act="clip").pool()),
    Case("pool-after-silu", lambda: Graph().conv(8, act="silu").pool()),
    Case("pool-after-5x5", lambda: Graph().conv(8, 5, act="clip").pool(), Row.CPU_POOL),
    Case("pool-after-cpu-pool", lambda: Graph().conv(8, act="clip").pool(3, 2, pads=(1,) * 4).pool(), Row.CPU_POOL),
    Case("pool-pool", lambda: Graph().conv(8, act="clip").pool().pool()),
    Case("pool-after-add", lambda: _residual().pool()),
    Case("pool-input", lambda: Graph().pool(), Row.CPU_POOL),
    Case("pool-input-conv", lambda: Graph().pool().conv(8, act="clip"), Row.CPU_POOL),
    Case("pool-two-readers", _pool_two_readers),
    Case("conv-read-beside-pool", _conv_read_beside_pool, Row.CPU_POOL),
    Case("pool-1x1-s2", lambda: Graph().conv(8, act="clip").pool(1, 2)),
    Case("pool-global-max", _after_conv("GlobalMaxPool")),
    Case("pool-lp", _after_conv("GlobalLpPool")),
    # Sums and other operators of two tensors
    Case("add", lambda: _residual(act=""), Row.ADD),
    Case("add-clip", _residual, Row.ADD),
    Case("add-relu", lambda: _residual(act="relu"), Row.ADD),
    Case("add-leaky", lambda: _residual(act="leaky"), Row.ADD),
    Case("add-clip-conv", lambda: _residual().conv(8, act="clip"), Row.ADD),
    Case("add-relu-conv", lambda: _residual(act="relu").conv(8, act="clip"), Row.ADD),
    Case("add-conv", lambda: _residual(act="").conv(8, act="clip"), Row.ADD),
    Case("add-two-convs", lambda: _two("Add"), Row.ADD),
    Case("add-512", lambda: _residual(512, 4, kernel=1), Row.ADD),
    Case("add-513", lambda: _residual(513, 4, kernel=1), Row.ADD),
    Case("add-513-plain", lambda: _residual(513, 4, act="", kernel=1), Row.ADD),
    Case("add-map-2", lambda: _residual(8, 2), Row.ADD),
    Case("add-map-3", lambda: _residual(8, 3, act=""), Row.ADD),
    Case("add-width-600", _wide_add),
    Case("add-strided", _add_strided, Row.ADD),
    Case("add-image", _add_image, Row.ADD),
    Case("add-self", _add_self),
    Case("add-2d", _add_2d),
    Case("add-broadcast-channels", lambda: _add_broadcast("channels")),
    Case("add-broadcast-map", lambda: _add_broadcast("one-map")),
    Case("sum-2", lambda: _two("Sum")),
    Case("sum-3", lambda: _three("Sum")),
    Case("add-3", _chain_of_adds),
    Case("mean-2", lambda: _two("Mean")),
    Case("sub", lambda: _two("Sub")),
    Case("sub-conv", lambda: _two("Sub", after=True)),
    Case("mul", lambda: _two("Mul")),
    Case("mul-conv", lambda: _two("Mul", after=True)),
    Case("mul-relu", lambda: _two("Mul", act="relu")),
    Case("max", lambda: _two("Max")),
    Case("min", lambda: _two("Min")),
    Case("max-conv", lambda: _two("Max", after=True)),
    # Constants
    Case("mul-constant", lambda: _constant_binary("Mul", 0.5)),
    Case("mul-constant-conv", lambda: _constant_binary("Mul", 0.5, after=True)),
    Case("add-constant", lambda: _constant_binary("Add", 0.5)),
    Case("add-constant-conv", lambda: _constant_binary("Add", 0.5, after=True)),
    Case("sub-constant", lambda: _constant_binary("Sub", 0.5)),
    Case("div-constant", lambda: _constant_binary("Div", 2.0)),
    Case("pow-constant", lambda: _constant_binary("Pow", 2.0)),
    Case("max-constant", lambda: _constant_binary("Max", 0.5)),
    Case("min-constant", lambda: _constant_binary("Min", 0.5)),
    Case("mul-constant-input-conv", lambda: _constant_binary("Mul", 0.5, after=True, before=False)),
    Case("sub-constant-input-conv", lambda: _constant_binary("Sub", 0.5, after=True, before=False)),
    Case("normalised-image", _normalised_image),
    Case("mul-per-channel", lambda: _per_channel("Mul")),
    Case("add-per-channel", lambda: _per_channel("Add")),
    Case("add-per-channel-clip", lambda: _per_channel("Add").act("clip")),
    # Concats and resizes
    Case("concat", _concat, Row.FLOAT),
    Case("concat-conv", lambda: _concat(after=True), Row.FLOAT),
    Case("concat-image", lambda: _concat(image=True), Row.FLOAT),
    Case("concat-rows", lambda: _concat(axis=2), Row.FLOAT),
    Case("concat-three", _concat_three, Row.FLOAT),
    Case("concat-dense", _dense, Row.FLOAT),
    *(
        Case(
            f"resize-nearest-{mode.replace('_', '-')}",
            lambda mode=mode: Graph(3, 8, 8).conv(8, act="clip").resize("nearest", mode),
            Row.FLOAT,
        )
        for mode in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
    ),
    Case(
        "resize-nearest-conv",
        lambda: Graph(3, 8, 8).conv(8, act="clip").resize("nearest", "asymmetric").conv(8, act="clip"),
        Row.FLOAT,
    ),
    Case(
        "resize-nearest-half-pixel-round",
        lambda: Graph(3, 8, 8).conv(8, act="clip").resize("nearest", "half_pixel", nearest_mode="round_prefer_floor"),
        Row.FLOAT,
    ),
    Case("resize-nearest-down", lambda: Graph().conv(8, act="clip").resize("nearest", "asymmetric", 0.5), Row.FLOAT),
    Case("resize-nearest-sizes", _resize_sizes, Row.FLOAT),
    Case(
        "resize-linear-half-pixel",
        lambda: Graph(3, 8, 8).conv(8, act="clip").resize("linear", "half_pixel"),
        Row.HALF_PIXEL,
    ),
    Case(
        "resize-linear-half-pixel-conv",
        lambda: Graph(3, 8, 8).conv(8, act="clip").resize("linear", "half_pixel").conv(8, 1),
        Row.HALF_PIXEL,
    ),
    Case(
        "resize-linear-pytorch-half-pixel",
        lambda: Graph(3, 8, 8).conv(8, act="clip").resize("linear", "pytorch_half_pixel"),
        Row.HALF_PIXEL,
    ),
    Case("resize-linear-align-corners", lambda: Graph(3, 8, 8).conv(8, act="clip").resize("linear", "align_corners")),
    Case("resize-linear-asymmetric", lambda: Graph(3, 8, 8).conv(8, act="clip").resize("linear", "asymmetric")),
    Case("resize-cubic", lambda: Graph(3, 8, 8).conv(8, act="clip").resize("cubic", "half_pixel")),
    Case("upsample-opset-9", _upsample),
    # Heads
    Case("global-average-pool", lambda: Graph().conv(8, act="clip").op("GlobalAveragePool"), Row.FLOAT),
    Case("global-average-pool-flatten", _head, Row.FLOAT),
    Case("global-average-pool-input", lambda: Graph().op("GlobalAveragePool"), Row.FLOAT),
    Case("reduce-mean", _after_conv("ReduceMean", axes=[2, 3], keepdims=0), Row.FLOAT),
    Case("reduce-mean-keep", _after_conv("ReduceMean", axes=[2, 3], keepdims=1), Row.FLOAT),
    Case("reduce-mean-channels", _after_conv("ReduceMean", axes=[1], keepdims=1)),
    Case("softmax", lambda: _head().gemm(10).op("Softmax", axis=1), Row.FLOAT),
    Case("softmax-channels", _after_conv("Softmax", axis=1), Row.FLOAT),
    Case("softmax-without-gemm", lambda: _head().op("Softmax", axis=1), Row.FLOAT),
    Case("log-softmax", lambda: _head().gemm(10).op("LogSoftmax", axis=1)),
    Case("sigmoid-head", lambda: _head().gemm(1).op("Sigmoid")),
    Case("head-gemm", lambda: _head().gemm(10), Row.HEAD),
    Case("head-gemm-no-bias", lambda: _head().gemm(10, bias=False), Row.HEAD),
    Case("head-matmul", lambda: _head().matmul(10), Row.HEAD),
    Case("head-matmul-add", _matmul_add, Row.HEAD),
    Case("head-conv", lambda: Graph().conv(8, act="clip").op("GlobalAveragePool").conv(10, 1), Row.HEAD),
    Case(
        "head-conv-flatten",
        lambda: Graph().conv(8, act="clip").op("GlobalAveragePool").conv(10, 1).op("Flatten"),
        Row.HEAD,
    ),
    Case("head-gemm-relu-gemm", lambda: _head().gemm(16).act("relu").gemm(10), Row.HEAD),
    Case("head-gemm-gemm", lambda: _head().gemm(16).gemm(10), Row.HEAD),
    *(
        Case(f"head-{kind}-{inside}", lambda kind=kind, inside=inside: _wide_head(inside, kind), Row.HEAD)
        for kind in ("gemm", "matmul", "conv")
        for inside in (1024, 1025)
    ),
    Case("head-gemm-out-1025", lambda: _head().gemm(1025), Row.HEAD),
    Case("head-flatten-4x4", lambda: Graph(3, 4, 4).conv(8, act="clip").op("Flatten").gemm(10), Row.HEAD),
    Case("head-flatten-16x16", lambda: Graph().conv(8, act="clip").op("Flatten").gemm(10), Row.HEAD),
    Case("head-flatten-image", lambda: Graph(1, 8, 8).op("Flatten").gemm(10)),
    Case("head-mlp", lambda: Graph(1, 8, 8).op("Flatten").gemm(32).act("relu").gemm(10)),
    Case("head-reduce-mean-gemm", lambda: _after_conv("ReduceMean", axes=[2, 3], keepdims=0)().gemm(10), Row.HEAD),
    Case("head-squeeze", lambda: _squeezed().gemm(10), Row.HEAD),
    Case("head-reshape", lambda: _reshaped_head().gemm(10), Row.HEAD),
    Case("head-dropout", lambda: _head().op("Dropout").gemm(10), Row.HEAD),
    Case(
        "head-average-pool",
        lambda: Graph(3, 8, 8).conv(8, act="clip").pool(8, 1, "AveragePool").op("Flatten").gemm(10),
        Row.HEAD,
    ),
    Case("head-conv-map-4", lambda: Graph(3, 4, 4).conv(8, act="clip").conv(10, 4, pads=(0,) * 4), Row.CPU_CONV),
    # Squeeze and excitation
    *(
        Case(
            f"squeeze-excite-16-{seed}",
            lambda seed=seed: Graph(seed=seed).conv(16, act="clip").squeeze_excite(),
            Row.SQUEEZE,
        )
        for seed in range(4)
    ),
    Case(
        "squeeze-excite-efficientnet",
        lambda: Graph().conv(8, act="silu").depthwise(1, "silu").squeeze_excite(act="silu").conv(8, 1),
        Row.SQUEEZE,
    ),
    Case("squeeze-excite", lambda: Graph().conv(8, act="clip").squeeze_excite(), Row.SQUEEZE),
    Case("squeeze-excite-clip", lambda: Graph().conv(8, act="clip").squeeze_excite(act="clip0"), Row.SQUEEZE),
    Case(
        "squeeze-excite-conv", lambda: Graph().conv(8, act="clip").squeeze_excite(act="clip0").conv(8, 1), Row.SQUEEZE
    ),
    Case("squeeze-excite-hard", lambda: Graph().conv(8, act="clip").squeeze_excite(gate="HardSigmoid"), Row.SQUEEZE),
    Case("squeeze-excite-relu-act", lambda: Graph().conv(8, act="relu").squeeze_excite(), Row.SQUEEZE),
    # Shapes
    Case("flatten", _after_conv("Flatten")),
    Case("identity", _after_conv("Identity", conv=True)),
    Case("dropout", _after_conv("Dropout", conv=True)),
    Case("transpose-nhwc", _after_conv("Transpose", perm=[0, 2, 3, 1])),
    Case("transpose-swap", _after_conv("Transpose", conv=True, perm=[0, 1, 3, 2])),
    Case("transpose-input", lambda: Graph().op("Transpose", perm=[0, 2, 3, 1])),
    Case("reshape", _with_integers("Reshape", (1, -1))),
    Case("reshape-map", _with_integers("Reshape", (1, 8, 8, 32), conv=True)),
    Case("reshape-3d", _with_integers("Reshape", (1, 8, 256))),
    Case("squeeze", _squeezed),
    Case(
        "squeeze-opset-11",
        lambda: Graph(opset=11).conv(8, act="clip").op("GlobalAveragePool").op("Squeeze", axes=[2, 3]),
    ),
    Case(
        "head-squeeze-opset-11",
        lambda: Graph(opset=11).conv(8, act="clip").op("GlobalAveragePool").op("Squeeze", axes=[2, 3]).gemm(10),
        Row.HEAD,
    ),
    Case("unsqueeze", _with_integers("Unsqueeze", (2,))),
    Case("pad", _with_integers("Pad", (0, 0, 1, 1, 0, 0, 1, 1))),
    Case("pad-input", _pad_input),
    Case("pad-reflect", lambda: _pad_mode("reflect")),
    Case("pad-edge", lambda: _pad_mode("edge")),
    Case("slice", _with_integers("Slice", (0,), (8,), (2,))),
    Case("slice-steps", _with_integers("Slice", (0, 0), (16, 16), (2, 3), (2, 2))),
    Case("slice-input", _focus),
    Case("tile", _with_integers("Tile", (1, 2, 1, 1))),
    Case("expand", _head_expand),
    Case("depth-to-space", _after_conv("DepthToSpace", blocksize=2)),
    Case("depth-to-space-conv", _after_conv("DepthToSpace", blocksize=2, conv=True)),
    Case("depth-to-space-crd", _after_conv("DepthToSpace", blocksize=2, mode="CRD")),
    Case("space-to-depth", _after_conv("SpaceToDepth", blocksize=2)),
    Case("space-to-depth-input", lambda: Graph().op("SpaceToDepth", blocksize=2).conv(8, act="clip")),
    Case("gather", _gather),
    Case("channel-shuffle", _shuffle),
    Case("yolo-tail", _yolo_tail),
    # One-input operators
    *(
        Case(f"unary-{kind.lower()}", lambda kind=kind: _positive(kind))
        for kind in ("Sqrt", "Log", "Exp", "Abs", "Neg", "Reciprocal", "Floor", "Ceil", "Round", "Sin", "Cos", "Sign")
    ),
    Case("unary-sqrt-conv", lambda: _positive("Sqrt").conv(8, 1)),
    Case("unary-erf-input", lambda: Graph().op("Erf")),
    Case("unary-exp-input", lambda: Graph().op("Exp")),
    Case("lrn", _after_conv("LRN", size=3)),
    Case("instance-norm", _instance_norm),
    Case("layer-norm", _layer_norm),
    Case("lp-normalization", lambda: _head().op("LpNormalization", axis=1, p=2)),
    Case("lp-normalization-map", lambda: Graph().conv(8).op("LpNormalization", axis=1, p=2)),
    *(
        Case(f"reduce-{kind.lower()}", lambda kind=kind: Graph().conv(8).op(f"Reduce{kind}", axes=[2, 3], keepdims=1))
        for kind in ("Max", "Min", "L1", "L2", "LogSumExp", "SumSquare")
    ),
    Case("reduce-prod", lambda: Graph().conv(3).op("ReduceProd", axes=[1], keepdims=1)),
    Case("reduce-sum", _with_integers("ReduceSum", (2, 3))),
    Case("reduce-sum-opset-11", lambda: Graph(opset=11).conv(8).op("ReduceSum", axes=[2, 3], keepdims=1)),
    Case("arg-max", lambda: _head().gemm(10).op("ArgMax", axis=1)),
    Case("arg-max-map", _after_conv("ArgMax", axis=1)),
    Case("cast", lambda: Graph().conv(8, act="clip").op("Cast", to=1)),
    Case("attention", _attention),
    Case("hardmax", lambda: _head().op("Hardmax", axis=1)),
    # Whole networks
    Case("input-is-output", lambda: Graph().op("Identity")),
    Case("two-outputs", lambda: _outputs(kinds="maps")),
    Case("two-outputs-map-and-vector", lambda: _outputs(kinds="both")),
    *(Case(f"opset-{opset}", lambda opset=opset: _opset(opset)) for opset in (9, 10, 11, 12, 13, 14, 15, 16, 17, 18)),
]
