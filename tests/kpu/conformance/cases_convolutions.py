"""Cases: convolutions of every kind, size and padding."""

from __future__ import annotations

from conformance_case import Case, Row
from conformance_graph import Graph


def _tf_same(kernel: int, side: int = 16) -> Graph:
    return Graph(3, side, side).conv(8, kernel, 2, "clip", pads=(0, 0, 1, 1))


def _two_readers(act: str) -> Graph:
    """A convolution whose (activated) result two others read, both outputs."""
    graph = Graph().conv(8, act=act)
    start = graph.at
    first = graph.conv(4, act="clip").at
    graph.at = start
    return graph.out(first, graph.conv(4, 1, act="clip").at)


def _activated_and_raw() -> Graph:
    """A convolution that is read both before and behind its activation."""
    graph = Graph().conv(8)
    raw = graph.at
    first = graph.act("clip").conv(4).at
    graph.at = raw
    return graph.out(first, graph.conv(4, 1).at)


def _weights_scaled(gain: float) -> Graph:
    return Graph(8).conv(8, gain=gain)


def _one_tiny_channel(gain: float) -> Graph:
    """A channel with weights far below the others', and amplified again by what reads it."""
    graph = Graph(8).conv(8, bias=False)
    weights = graph.random.normal(0, 0.1, (8, 8, 3, 3))
    weights[3] *= gain
    graph.at = "image"
    return graph.op("Conv", graph.constant(weights), kernel_shape=[3, 3], pads=[1] * 4)


def _gemm_1025(act: str) -> Graph:
    return Graph(8, 4, 4).conv(1025, 1, act="clip").global_mean().gemm(8).act(act)


def _auto_pad(stride: int) -> Graph:
    graph = Graph()
    weights = graph.constant(graph.random.normal(0, 0.3, (8, 3, 3, 3)))
    graph.op("Conv", weights, kernel_shape=[3, 3], strides=[stride] * 2, auto_pad="SAME_UPPER")
    return graph.act("clip")


def _strides(down: int, across: int) -> Graph:
    graph = Graph()
    weights = graph.constant(graph.random.normal(0, 0.3, (8, 3, 3, 3)))
    return graph.op("Conv", weights, kernel_shape=[3, 3], strides=[down, across], pads=[1] * 4).act("clip")


def _pad(graph: Graph, top: int = 1, left: int = 1, bottom: int = 1, right: int = 1) -> Graph:
    return graph.op("Pad", graph.integers(0, 0, top, left, 0, 0, bottom, right))


def _padded(*pads: int) -> Graph:
    return _pad(Graph(), *pads)


def _sliced(graph: Graph, axis: int, start: int, end: int) -> Graph:
    return graph.op("Slice", graph.integers(start), graph.integers(end), graph.integers(axis))


def _output_inside() -> Graph:
    graph = Graph().conv(8, act="clip")
    first = graph.at
    return graph.out(first, graph.conv(8, act="clip").at)


CASES = [
    # The KPU's own
    Case("conv-3x3", lambda: Graph().conv(8), Row.CONV),
    Case("conv-1x1", lambda: Graph().conv(8, 1), Row.CONV),
    Case("conv-3x3-no-bias", lambda: Graph().conv(8, bias=False), Row.CONV),
    Case("conv-3x3-clip", lambda: Graph().conv(8, act="clip"), Row.CONV),
    Case("conv-3x3-clip0", lambda: Graph().conv(8, act="clip0"), Row.CONV),
    Case("conv-3x3-leaky", lambda: Graph().conv(8, act="leaky"), Row.CONV),
    Case("conv-1x1-clip", lambda: Graph().conv(8, 1, act="clip"), Row.CONV),
    Case("conv-3x3-s2", lambda: Graph().conv(8, 3, 2), Row.CONV),
    Case("conv-3x3-s2-clip", lambda: Graph().conv(8, 3, 2, "clip"), Row.CONV),
    Case("conv-3x3-s2-leaky", lambda: Graph().conv(8, 3, 2, "leaky"), Row.CONV),
    Case("conv-1x1-s2-clip", lambda: Graph().conv(8, 1, 2, "clip"), Row.CONV),
    Case("conv-chain", lambda: Graph().conv(8, act="clip").conv(16, 3, 2, "leaky").conv(8, 1, act="clip"), Row.CONV),
    Case("conv-grey", lambda: Graph(1).conv(8, act="clip"), Row.CONV),
    Case("conv-one-channel", lambda: Graph(1).conv(1, act="clip"), Row.CONV),
    Case("conv-channels-1024", lambda: Graph(8, 4, 4).conv(1024, 1, act="clip").conv(8, 1), Row.CONV),
    Case("conv-tall", lambda: Graph(3, 40, 8).conv(8, act="clip").conv(8, 3, 2, "clip")),
    Case("conv-wide-70", lambda: Graph(3, 8, 70).conv(8, act="clip").conv(8, 3, 2, "clip")),
    # Kernels and groups that the KPU lacks
    Case("conv-5x5", lambda: Graph().conv(8, 5, act="clip"), Row.CPU_CONV),
    Case("conv-5x5-plain", lambda: Graph().conv(8, 5), Row.CPU_CONV),
    Case("conv-5x5-relu", lambda: Graph().conv(8, 5, act="relu"), Row.CPU_CONV),
    Case("conv-5x5-leaky", lambda: Graph().conv(8, 5, act="leaky"), Row.CPU_CONV),
    Case("conv-5x5-sigmoid", lambda: Graph().conv(8, 5, act="Sigmoid"), Row.CPU_CONV),
    Case("conv-5x5-silu", lambda: Graph().conv(8, 5, act="silu"), Row.CPU_CONV),
    Case("conv-5x5-s2", lambda: Graph().conv(8, 5, 2, "clip"), Row.CPU_CONV),
    Case("conv-5x5-between", lambda: Graph().conv(8, act="clip").conv(8, 5, act="clip").conv(8), Row.CPU_CONV),
    Case("conv-7x7", lambda: Graph().conv(8, 7, act="clip"), Row.CPU_CONV),
    Case("conv-1x3", lambda: Graph().conv(8, (1, 3), act="clip"), Row.CPU_CONV),
    Case("conv-3x1", lambda: Graph().conv(8, (3, 1), act="clip"), Row.CPU_CONV),
    Case("conv-2x2", lambda: Graph().conv(8, 2, 2, "clip", pads=(0,) * 4), Row.CPU_CONV),
    Case("conv-2x2-s1", lambda: Graph().conv(8, 2, 1, "clip", pads=(0,) * 4), Row.CPU_CONV),
    Case("conv-4x4-s4", lambda: Graph().conv(8, 4, 4, pads=(0,) * 4), Row.CPU_CONV),
    Case("conv-grouped", lambda: Graph(8).conv(8, act="clip", groups=2), Row.CPU_CONV),
    Case("conv-grouped-1x1", lambda: Graph(8).conv(16, 1, act="clip", groups=4), Row.CPU_CONV),
    Case(
        "conv-grouped-between", lambda: Graph().conv(8, act="clip").conv(8, groups=2, act="clip").conv(8), Row.CPU_CONV
    ),
    Case("depthwise-5x5", lambda: Graph(8).depthwise(1, "clip", kernel=5), Row.CPU_CONV),
    Case("depthwise-5x5-s2", lambda: Graph(8).depthwise(2, "clip", kernel=5), Row.CPU_CONV),
    Case("depthwise-7x7", lambda: Graph(8).depthwise(1, "clip", kernel=7), Row.CPU_CONV),
    Case("conv-s3", lambda: Graph(3, 18, 18).conv(8, 3, 3, "clip"), Row.CPU_CONV),
    Case("conv-1x1-s3", lambda: Graph(3, 18, 18).conv(8, 1, 3, "clip"), Row.CPU_CONV),
    Case("conv-s3-16", lambda: Graph().conv(8, 3, 3, "clip"), Row.CPU_CONV),
    Case("conv-s3-between", lambda: Graph(3, 24, 24).conv(8, act="clip").conv(8, 3, 3, "clip").conv(8), Row.CPU_CONV),
    Case("conv-s3-valid", lambda: Graph(3, 18, 18).conv(8, 3, 3, "clip", pads=(0,) * 4), Row.CPU_CONV),
    Case("conv-5x5-s3", lambda: Graph(3, 18, 18).conv(8, 5, 3, "clip"), Row.CPU_CONV),
    Case("depthwise-s3", lambda: Graph(8, 18, 18).depthwise(3, "clip"), Row.CPU_CONV),
    Case("conv-s2-by-1", lambda: _strides(2, 1), Row.CPU_CONV),
    Case("conv-s1-by-2", lambda: _strides(1, 2), Row.CPU_CONV),
    Case("conv-s4", lambda: Graph().conv(8, 3, 4, "clip"), Row.CPU_CONV),
    Case("conv-dilated-s2", lambda: Graph().conv(8, 3, 2, "clip", dilation=2), Row.CPU_CONV),
    Case("conv-dilated", lambda: Graph().conv(8, act="clip", dilation=2), Row.DILATED),
    Case("conv-dilated-plain", lambda: Graph().conv(8, dilation=2), Row.DILATED),
    Case("conv-dilated-3", lambda: Graph().conv(8, act="clip", dilation=3), Row.DILATED),
    Case("conv-dilated-4", lambda: Graph().conv(8, act="clip", dilation=4), Row.DILATED),
    Case(
        "conv-dilated-between", lambda: Graph().conv(8, act="clip").conv(8, dilation=2, act="clip").conv(8), Row.DILATED
    ),
    Case("conv-dilated-valid", lambda: Graph().conv(8, act="clip", dilation=2, pads=(0,) * 4), Row.DILATED),
    Case("depthwise-dilated", lambda: Graph(8).conv(8, act="clip", groups=8, dilation=2), Row.DILATED),
    Case("conv-1x1-dilated", lambda: Graph().conv(8, 1, act="clip", dilation=2, pads=(0,) * 4), Row.DILATED),
    Case("conv-5x5-dilated", lambda: Graph().conv(8, 5, act="clip", dilation=2), Row.CPU_CONV),
    # Depthwise
    Case("depthwise", lambda: Graph(8).depthwise(1, "clip")),
    Case("depthwise-plain", lambda: Graph(8).depthwise()),
    Case("depthwise-1x1", lambda: Graph(8).depthwise(1, "clip", kernel=1)),
    Case("depthwise-relu", lambda: Graph(8).depthwise(1, "relu"), Row.RELU),
    Case("depthwise-multiplier", lambda: Graph().depthwise(1, "clip", multiplier=2), Row.MULTIPLIER),
    Case("depthwise-multiplier-s2", lambda: Graph(4).depthwise(2, "clip", multiplier=2), Row.MULTIPLIER),
    Case("depthwise-multiplier-5x5", lambda: Graph(4).depthwise(1, "clip", kernel=5, multiplier=2), Row.MULTIPLIER),
    Case(
        "depthwise-multiplier-between",
        lambda: Graph().conv(8, act="clip").depthwise(1, "clip", multiplier=2).conv(8, 1),
        Row.MULTIPLIER,
    ),
    Case("depthwise-fewer-out", lambda: Graph(8).conv(4, groups=4, act="clip"), Row.CPU_CONV),
    Case("depthwise-s2", lambda: Graph(8).depthwise(2, "clip")),
    Case("depthwise-s2-plain", lambda: Graph(8).depthwise(2)),
    Case("depthwise-s2-1x1", lambda: Graph(8).depthwise(2).conv(8, 1, act="clip")),
    Case("depthwise-s2-clip-1x1", lambda: Graph(8).depthwise(2, "clip").conv(8, 1, act="clip"), Row.RELU),
    Case("depthwise-s2-clip0-1x1", lambda: Graph(8).depthwise(2, "clip0").conv(8, 1, act="clip"), Row.RELU),
    Case("depthwise-s2-relu-1x1", lambda: Graph(8).depthwise(2, "relu").conv(8, 1, act="clip"), Row.RELU),
    Case("depthwise-s2-leaky-1x1", lambda: Graph(8).depthwise(2, "leaky").conv(8, 1, act="clip")),
    Case("depthwise-s2-silu-1x1", lambda: Graph(8).depthwise(2, "silu").conv(8, 1, act="clip")),
    Case("depthwise-s2-clip-3x3", lambda: Graph(8).depthwise(2, "clip").conv(8, 3, act="clip")),
    Case("depthwise-s2-clip-1x1-s2", lambda: Graph(8).depthwise(2, "clip").conv(8, 1, 2, "clip")),
    Case("depthwise-s2-clip-depthwise", lambda: Graph(8).depthwise(2, "clip").depthwise(1, "clip").conv(8, 1)),
    Case("mobilenet-v1-block", lambda: Graph().conv(8, 3, 2, "clip0").depthwise(1, "clip0").conv(16, 1, act="clip0")),
    Case(
        "mobilenet-v1-block-relu",
        lambda: Graph().conv(8, 3, 2, "relu").depthwise(2, "relu").conv(16, 1, act="relu"),
        Row.RELU,
    ),
    Case("conv-relu", lambda: Graph().conv(8, act="relu"), Row.RELU),
    Case("conv-relu-conv", lambda: Graph().conv(8, act="relu").conv(8, act="relu"), Row.RELU),
    Case("conv-s2-relu-conv", lambda: Graph().conv(8, 3, 2, "relu").conv(8, 1, act="relu"), Row.RELU),
    # Sizes and padding
    Case("conv-s2-odd", lambda: Graph(3, 17, 17).conv(8, 3, 2, "clip"), Row.ODD_STRIDE),
    Case("conv-s2-odd-height", lambda: Graph(3, 17, 16).conv(8, 3, 2, "clip"), Row.ODD_STRIDE),
    Case("conv-s2-odd-width", lambda: Graph(3, 16, 17).conv(8, 3, 2, "clip"), Row.ODD_STRIDE),
    Case(
        "conv-s2-odd-between",
        lambda: Graph(3, 17, 17).conv(8, act="clip").conv(8, 3, 2, "clip").conv(8),
        Row.ODD_STRIDE,
    ),
    Case("conv-1x1-s2-odd", lambda: Graph(3, 17, 17).conv(8, 1, 2, "clip"), Row.ODD_STRIDE),
    Case("depthwise-s2-odd-1x1", lambda: Graph(8, 17, 17).depthwise(2, "clip").conv(8, 1), Row.ODD_STRIDE),
    Case("conv-tf-same", lambda: _tf_same(3), Row.ODD_STRIDE),
    Case(
        "conv-tf-same-between",
        lambda: Graph().conv(8, act="clip").conv(8, 3, 2, "clip", pads=(0, 0, 1, 1)).conv(8),
        Row.ODD_STRIDE,
    ),
    Case(
        "depthwise-tf-same-1x1",
        lambda: Graph(8).conv(8, 3, 2, "clip", groups=8, pads=(0, 0, 1, 1)).conv(8, 1),
        Row.ODD_STRIDE,
    ),
    Case("conv-pads-1100-s2", lambda: Graph().conv(8, 3, 2, "clip", pads=(1, 1, 0, 0)), Row.ODD_STRIDE),
    Case("conv-auto-pad-same", lambda: _auto_pad(2), Row.ODD_STRIDE),
    Case("conv-auto-pad-same-s1", lambda: _auto_pad(1)),
    Case("conv-valid", lambda: Graph().conv(8, act="clip", pads=(0,) * 4)),
    Case("conv-valid-s2", lambda: Graph(3, 17, 17).conv(8, 3, 2, "clip", pads=(0,) * 4)),
    Case("conv-valid-s2-even", lambda: Graph().conv(8, 3, 2, "clip", pads=(0,) * 4)),
    Case("conv-valid-between", lambda: Graph().conv(8, act="clip").conv(8, act="clip", pads=(0,) * 4).conv(8)),
    Case("depthwise-valid", lambda: Graph(8).conv(8, act="clip", groups=8, pads=(0,) * 4)),
    Case("conv-pads-2", lambda: Graph().conv(8, act="clip", pads=(2,) * 4)),
    Case("conv-pads-2-between", lambda: Graph().conv(8, act="clip").conv(8, act="clip", pads=(2,) * 4).conv(8)),
    Case("conv-pads-2-s2", lambda: Graph().conv(8, 3, 2, "clip", pads=(2,) * 4)),
    Case("conv-pads-mixed", lambda: Graph().conv(8, act="clip", pads=(0, 1, 2, 1))),
    Case("conv-pads-0011-s1", lambda: Graph().conv(8, act="clip", pads=(0, 0, 1, 1))),
    Case("conv-1x1-pads-1", lambda: Graph().conv(8, 1, act="clip", pads=(1,) * 4)),
    Case("pad-conv", lambda: _padded().conv(8, act="clip", pads=(0,) * 4)),
    Case("pad-conv-s2", lambda: _padded(0, 0, 1, 1).conv(8, 3, 2, "clip", pads=(0,) * 4), Row.ODD_STRIDE),
    Case("pad-1-conv-s2", lambda: _padded(1, 1, 1, 1).conv(8, 3, 2, "clip", pads=(0,) * 4)),
    Case("conv-pad-conv", lambda: _pad(Graph().conv(8, act="clip")).conv(8, act="clip", pads=(0,) * 4)),
    Case("conv-pad-conv-s2", lambda: _pad(Graph().conv(8, act="clip")).conv(8, 3, 2, act="clip", pads=(0,) * 4)),
    Case("conv-height-256", lambda: Graph(1, 256, 4).conv(4, act="clip")),
    Case("conv-height-257", lambda: Graph(1, 257, 4).conv(4, act="clip")),
    Case("conv-height-257-between", lambda: Graph(1, 257, 4).conv(4, 1, act="clip").conv(4, act="clip")),
    Case("conv-width-512", lambda: Graph(1, 4, 512).conv(4, act="clip")),
    Case("conv-width-513", lambda: Graph(1, 4, 513).conv(4, act="clip")),
    Case("conv-height-3", lambda: Graph(3, 3, 16).conv(8, act="clip")),
    Case("conv-width-3", lambda: Graph(3, 16, 3).conv(8, act="clip")),
    Case("conv-map-1", lambda: Graph(8, 1, 1).conv(8, 1, act="clip")),
    Case("conv-map-2", lambda: Graph(8, 2, 2).conv(8, 1, act="clip")),
    Case("conv-map-3", lambda: Graph(8, 3, 3).conv(8, 1, act="clip")),
    Case("conv-3x3-map-3", lambda: Graph(8, 3, 3).conv(8, 3, act="clip")),
    Case("conv-3x3-map-2", lambda: Graph(8, 2, 2).conv(8, 3, act="clip")),
    Case("conv-3x3-map-1", lambda: Graph(8, 1, 1).conv(8, 3, act="clip")),
    Case("conv-map-5-valid", lambda: Graph(8, 5, 5).conv(8, 3, act="clip", pads=(0,) * 4)),
    Case("conv-below-4", lambda: Graph(3, 12, 12).conv(8, 3, 2, "clip").conv(8, 3, 2, "clip").conv(8, act="clip")),
    Case("conv-s2-to-2", lambda: Graph(3, 8, 8).conv(8, 3, 2, "clip").conv(8, 3, 2, "clip").conv(8, act="clip")),
    Case("conv-s2-map-6", lambda: Graph(3, 6, 6).conv(8, 3, 2, "clip")),
    Case("conv-s2-map-8", lambda: Graph(3, 8, 8).conv(8, 3, 2, "clip")),
    Case("depthwise-map-2", lambda: Graph(8, 2, 2).depthwise(1, "clip")),
    Case("depthwise-s2-map-6-1x1", lambda: Graph(8, 6, 6).depthwise(2, "clip").conv(8, 1)),
    # Channels, memory, weights
    Case("conv-out-1025", lambda: Graph(8, 4, 4).conv(1025, 1, act="clip"), Row.WIDE),
    Case("conv-out-1280", lambda: Graph(3, 8, 8).conv(8, act="clip").conv(1280, 1, act="clip"), Row.WIDE),
    Case("conv-in-1025", lambda: Graph(8, 4, 4).conv(1025, 1, act="clip").conv(8, 1, act="clip"), Row.WIDE),
    Case("clip-gemm-1025", lambda: _gemm_1025("clip"), Row.CLIP_ELSEWHERE),
    Case("relu-gemm-1025", lambda: _gemm_1025("relu"), Row.CLIP_ELSEWHERE),
    Case("depthwise-1025", lambda: Graph(8, 4, 4).conv(1025, 1).depthwise(1, "clip"), Row.WIDE),
    Case("conv-16-at-240x320", lambda: Graph(3, 240, 320).conv(16, act="clip").conv(16, act="clip"), Row.KPU_RAM),
    Case("conv-3-to-16-at-240x320", lambda: Graph(3, 240, 320).conv(16, act="clip")),
    Case("conv-16-at-240x320-s2", lambda: Graph(3, 240, 320).conv(16, 3, 2, "clip")),
    Case("conv-64-at-128x128", lambda: Graph(1, 128, 128).conv(64, act="clip").conv(64, act="clip"), Row.KPU_RAM),
    Case(
        "fragmentation",
        lambda: Graph(1, 128, 128).conv(64, 1, act="clip").conv(32, 1, act="clip").conv(80, 1, act="clip"),
    ),
    Case("conv-loads-64", lambda: Graph(512, 4, 4).conv(384, act="clip")),
    Case("conv-loads-86", lambda: Graph(512, 4, 4).conv(512, act="clip")),
    Case("conv-loads-65", lambda: Graph(512, 4, 4).conv(385, act="clip")),
    Case("conv-1x1-1024", lambda: Graph(1024, 4, 4).conv(1024, 1, act="clip")),
    Case("conv-weights-1e-2", lambda: _weights_scaled(0.05)),
    Case("conv-weights-1e-4", lambda: _weights_scaled(0.001)),
    Case("conv-weights-1e-6", lambda: _weights_scaled(0.00001)),
    Case("conv-weights-zero", lambda: _weights_scaled(0.0)),
    Case("conv-one-tiny-channel", lambda: _one_tiny_channel(0.01)),
    Case("conv-weights-large", lambda: _weights_scaled(100.0)),
    # Readers and outputs
    Case("conv-two-readers", lambda: _two_readers("")),
    Case("conv-clip-two-readers", lambda: _two_readers("clip")),
    Case("conv-relu-two-readers", lambda: _two_readers("relu")),
    Case("conv-silu-two-readers", lambda: _two_readers("silu")),
    Case("conv-raw-and-clipped", _activated_and_raw),
    Case("conv-same-as-output-and-inside", _output_inside),
    # Transposed convolutions
    Case("transposed-3x3-s2", lambda: Graph(8, 8, 8).transposed(8, 3, 2, (1, 1, 1, 1), (1, 1)), Row.TRANSPOSED),
    Case(
        "transposed-3x3-s2-clip",
        lambda: Graph(8, 8, 8).transposed(8, 3, 2, (1,) * 4, (1, 1)).act("clip"),
        Row.TRANSPOSED,
    ),
    Case("transposed-3x3-s2-pads-0", lambda: Graph(8, 8, 8).transposed(8, 3, 2, (0,) * 4), Row.TRANSPOSED),
    Case("transposed-3x3-s2-pads-1", lambda: Graph(8, 8, 8).transposed(8, 3, 2, (1,) * 4), Row.TRANSPOSED),
    Case("transposed-3x3-s2-pads-0011", lambda: Graph(8, 8, 8).transposed(8, 3, 2, (0, 0, 1, 1)), Row.TRANSPOSED),
    Case("transposed-3x3-s1", lambda: Graph(8, 8, 8).transposed(8, 3, 1, (1,) * 4), Row.TRANSPOSED),
    Case(
        "transposed-3x3-between",
        lambda: Graph(3, 8, 8).conv(8, act="clip").transposed(8, 3, 2, (1,) * 4, (1, 1)).conv(8, act="clip"),
        Row.TRANSPOSED,
    ),
    *(
        Case(
            f"transposed-3x3-between-ring-{act or 'linear'}",
            lambda act=act: Graph().conv(16, act="clip").transposed(8, 3, 2, (1,) * 4, (1, 1), 1).conv(8, act=act),
            Row.TRANSPOSED,
        )
        for act in ("", "clip", "leaky")
    ),
    # Rows that nncase computes and crops, further out than those of the map
    *(
        Case(
            f"conv-{name}-ring-{act or 'linear'}",
            lambda pads=pads, act=act: Graph().conv(16, act="clip").conv(8, pads=pads, act=act, edge=3).conv(8),
        )
        for name, pads in (("valid", (0,) * 4), ("pads-0011", (0, 0, 1, 1)), ("pads-1100", (1, 1, 0, 0)))
        for act in ("", "clip", "leaky")
    ),
    Case("transposed-2x2-s2", lambda: Graph(8, 8, 8).transposed(8, 2, 2, (0,) * 4), Row.TRANSPOSED),
    Case("transposed-4x4-s2", lambda: Graph(8, 8, 8).transposed(8, 4, 2, (1,) * 4), Row.TRANSPOSED),
    Case(
        "transposed-2x2-after-conv",
        lambda: Graph(3, 8, 8).conv(8, act="clip").transposed(8, 2, 2, (0,) * 4).conv(8),
        Row.TRANSPOSED,
    ),
    Case(
        "transposed-4x4-after-conv",
        lambda: Graph(3, 8, 8).conv(8, act="clip").transposed(8, 4, 2, (1,) * 4).conv(8),
        Row.TRANSPOSED,
    ),
    # Batch normalisation
    Case("batch-norm", lambda: Graph(8).batch_norm(), Row.BATCH_NORM),
    Case("conv-batch-norm", lambda: Graph().conv(8).batch_norm(), Row.BATCH_NORM),
    Case("conv-batch-norm-relu", lambda: Graph().conv(8, bias=False).batch_norm().act("relu"), Row.BATCH_NORM),
    Case("conv-batch-norm-conv", lambda: Graph().conv(8).batch_norm().conv(8, act="clip"), Row.BATCH_NORM),
    Case("batch-norm-conv", lambda: Graph(8).batch_norm().conv(8, act="clip"), Row.BATCH_NORM),
    Case("conv-batch-norm-clip", lambda: Graph().conv(8, bias=False).batch_norm().act("clip"), Row.BATCH_NORM),
    Case("depthwise-batch-norm", lambda: Graph(8).depthwise().batch_norm(), Row.BATCH_NORM),
]
