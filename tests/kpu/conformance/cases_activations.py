"""Cases: activations after convolutions, after other layers and alone."""

from __future__ import annotations

from conformance_case import Case, Row
from conformance_graph import Graph

_FOLDED = {
    "clip": Row.ACTIVATION,
    "leaky": Row.ACTIVATION,
    "Sigmoid": Row.ACTIVATION,
    "Tanh": Row.ACTIVATION,
    "silu": Row.NON_MONOTONIC,
    "hardswish-clip": Row.NON_MONOTONIC,
    "hardswish-hardsigmoid": Row.NON_MONOTONIC,
    "HardSigmoid": Row.ACTIVATION,
    "Elu": Row.ACTIVATION,
    "Selu": Row.NONE,
    "Celu": Row.NONE,
    "ThresholdedRelu": Row.NONE,
    "Softplus": Row.NONE,
    "Softsign": Row.NONE,
    "mish": Row.ACTIVATION,
    "prelu": Row.PRELU,
    "gelu": Row.PRELU,
    "gelu-tanh": Row.NONE,
    "Exp": Row.NONE,
    "Abs": Row.NONE,
    "Neg": Row.NONE,
    "Erf": Row.NONE,
}


def _clip_after_pool(kind: str) -> Graph:
    return Graph().conv(8).pool(kind=kind).act("clip")


def _two_clips() -> Graph:
    return Graph().conv(8).clip(-1, 4).clip(0, 3)


def _joined(graph: Graph) -> Graph:
    """The concat of a convolution's result with a second convolution's."""
    start = graph.at
    first = graph.conv(8, act="clip").at
    graph.at = start
    return graph.node("Concat", [first, graph.conv(8, act="clip").at], axis=1)


def _min_max() -> Graph:
    graph = Graph().conv(8)
    return graph.op("Max", graph.constant(0)).op("Min", graph.constant(2))


def _prelu_shared() -> Graph:
    graph = Graph().conv(8)
    return graph.op("PRelu", graph.constant([0.2]))


def _times_two() -> Graph:
    graph = Graph().conv(8)
    return graph.op("Mul", graph.constant(2))


CASES = [
    *(
        Case(f"act-{name.lower()}", lambda name=name: Graph().conv(8, gain=2).act(name), row)
        for name, row in _FOLDED.items()
    ),
    *(
        Case(f"act-{name.lower()}-conv", lambda name=name: Graph().conv(8, gain=2).act(name).conv(8, 1), row)
        for name, row in _FOLDED.items()
        if name not in ("clip", "leaky", "Abs", "Neg", "Erf", "Selu", "Celu")
    ),
    *(
        Case(f"depthwise-{name.lower()}", lambda name=name: Graph(8).depthwise().act(name), row)
        for name, row in _FOLDED.items()
        if name in ("leaky", "Sigmoid", "silu", "prelu")
    ),
    Case("act-hardswish-op", lambda: Graph(opset=14).conv(8, gain=2).op("HardSwish"), Row.NON_MONOTONIC),
    Case("act-mish-op", lambda: Graph(opset=18).conv(8, gain=2).op("Mish"), Row.ACTIVATION),
    Case("act-max-min", _min_max),
    Case("act-clip-symmetric", lambda: Graph().conv(8).clip(-1, 1), Row.ACTIVATION),
    Case("act-clip-high-only", lambda: Graph().conv(8).clip(None, 1), Row.ACTIVATION),
    Case("act-clip-above-zero", lambda: Graph().conv(8).clip(0.5, 2), Row.ACTIVATION),
    Case("act-two-clips", _two_clips),
    Case("act-relu-clip", lambda: Graph().conv(8).act("relu").clip(0, 3)),
    Case("act-clip-relu", lambda: Graph().conv(8).clip(-1, 3).act("relu")),
    Case("act-leaky-negative", lambda: Graph().conv(8).op("LeakyRelu", alpha=-0.2)),
    Case("act-leaky-steep", lambda: Graph().conv(8).op("LeakyRelu", alpha=1.5)),
    Case("act-prelu-shared", _prelu_shared),
    # Clip and Relu where no convolution comes before
    Case("clip-input", lambda: Graph().clip(0, 1), Row.CLIP_ELSEWHERE),
    Case("clip-input-conv", lambda: Graph().clip(0, 1).conv(8, act="clip"), Row.CLIP_ELSEWHERE),
    Case("clip-concat", lambda: _joined(Graph()).clip(0, 3), Row.CLIP_ELSEWHERE),
    Case("clip-concat-conv", lambda: _joined(Graph()).clip(0, 3).conv(8, 1), Row.CLIP_ELSEWHERE),
    Case("clip-resize", lambda: Graph(3, 8, 8).conv(8).resize("nearest", "asymmetric").clip(0, 6), Row.CLIP_ELSEWHERE),
    Case("clip-cpu-pool", lambda: Graph().conv(8).pool(3, 2, pads=(1,) * 4).act("clip"), Row.CLIP_ELSEWHERE),
    Case("clip-global-pool", lambda: Graph().conv(8).op("GlobalAveragePool").act("clip"), Row.CLIP_ELSEWHERE),
    Case("clip-gemm", lambda: Graph().conv(8, act="clip").global_mean().gemm(8).act("clip"), Row.CLIP_ELSEWHERE),
    Case(
        "clip-gemm-gemm",
        lambda: Graph().conv(8, act="clip").global_mean().gemm(8).act("clip").gemm(4),
        Row.CLIP_ELSEWHERE,
    ),
    Case("clip-mul", lambda: _times_two().act("clip"), Row.CLIP_ELSEWHERE),
    Case(
        "clip-transposed",
        lambda: Graph().conv(8, act="clip").op("Transpose", perm=[0, 1, 3, 2]).clip(1, 3),
        Row.CLIP_ELSEWHERE,
    ),
    Case("clip-batch-norm-alone", lambda: Graph(8).batch_norm().act("clip"), Row.CLIP_ELSEWHERE),
    Case("relu-input", lambda: Graph().act("relu"), Row.CLIP_ELSEWHERE),
    Case("relu-input-conv", lambda: Graph().act("relu").conv(8, act="clip"), Row.CLIP_ELSEWHERE),
    Case("relu-concat", lambda: _joined(Graph()).act("relu"), Row.CLIP_ELSEWHERE),
    Case("relu-resize", lambda: Graph(3, 8, 8).conv(8).resize("nearest", "asymmetric").act("relu"), Row.CLIP_ELSEWHERE),
    Case("relu-cpu-pool", lambda: Graph().conv(8).pool(3, 2, pads=(1,) * 4).act("relu"), Row.CLIP_ELSEWHERE),
    Case("relu-global-pool", lambda: Graph().conv(8).op("GlobalAveragePool").act("relu"), Row.CLIP_ELSEWHERE),
    Case("relu-gemm", lambda: Graph().conv(8, act="clip").global_mean().gemm(8).act("relu"), Row.CLIP_ELSEWHERE),
    Case(
        "relu-gemm-gemm",
        lambda: Graph().conv(8, act="clip").global_mean().gemm(8).act("relu").gemm(4),
        Row.CLIP_ELSEWHERE,
    ),
    Case("relu-mul", lambda: _times_two().act("relu")),
    # Behind a fused pool
    *(
        Case(f"pool-{act}", lambda act=act: Graph().conv(8).pool().act(act), Row.ACT_AFTER_POOL)
        for act in ("relu", "clip", "leaky")
    ),
    *(
        Case(f"pool-{act}-conv", lambda act=act: Graph().conv(8).pool().act(act).conv(8), Row.ACT_AFTER_POOL)
        for act in ("relu", "clip", "leaky")
    ),
    Case("average-pool-clip", lambda: _clip_after_pool("AveragePool"), Row.ACT_AFTER_POOL),
    Case("average-pool-relu", lambda: Graph().conv(8).pool(kind="AveragePool").act("relu"), Row.ACT_AFTER_POOL),
    Case("pool-sigmoid", lambda: Graph().conv(8).pool().act("Sigmoid")),
    Case("pool-silu", lambda: Graph().conv(8).pool().act("silu")),
    Case("clip-pool-clip", lambda: Graph().conv(8, act="clip").pool().clip(0, 3), Row.ACT_AFTER_POOL),
    # Alone on the image
    *(
        Case(f"input-{name.lower()}", lambda name=name: Graph().act(name))
        for name in ("leaky", "Sigmoid", "Tanh", "silu", "Softplus", "Elu", "HardSigmoid", "prelu", "mish")
    ),
    *(
        Case(f"input-{name.lower()}-conv", lambda name=name: Graph().act(name).conv(8, act="clip"))
        for name in ("leaky", "Sigmoid", "silu")
    ),
]
