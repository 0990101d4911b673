"""Cases: what may follow a layer, behind every kind of layer."""

from __future__ import annotations

from collections.abc import Callable

from conformance_case import Case, Row
from conformance_graph import Graph


def _joined(kind: str, *, channels: int = 8, side: int = 16, **attributes: int) -> Callable[[], Graph]:
    def build() -> Graph:
        graph = Graph(3, side, side).conv(channels, 1)
        first = graph.at
        graph.at = "image"
        return graph.node(kind, [first, graph.conv(channels, 1).at], **attributes)

    return build


def _split() -> Graph:
    graph = Graph().conv(16)
    return graph.node("Split", [graph.at], outputs=2, axis=1)


def _slice() -> Graph:
    graph = Graph().conv(16)
    return graph.op("Slice", graph.integers(0), graph.integers(8), graph.integers(1))


def _padded() -> Graph:
    graph = Graph().conv(8)
    return graph.op("Pad", graph.integers(0, 0, 1, 1, 0, 0, 1, 1))


def _reshaped() -> Graph:
    graph = Graph().conv(8)
    return graph.op("Reshape", graph.integers(1, 8, 8, 32))


CONTEXTS: dict[str, Callable[[], Graph]] = {
    "input": lambda: Graph(8),
    "conv": lambda: Graph().conv(8),
    "conv-s2": lambda: Graph().conv(8, 3, 2),
    "conv-s2-odd": lambda: Graph(3, 17, 17).conv(8, 3, 2),
    "conv-s3": lambda: Graph(3, 24, 24).conv(8, 3, 3),
    "conv-valid": lambda: Graph(3, 18, 18).conv(8, pads=(0,) * 4),
    "conv-valid-s2": lambda: Graph(3, 17, 17).conv(8, 3, 2, pads=(0,) * 4),
    "conv-pads-2": lambda: Graph(3, 14, 14).conv(8, pads=(2,) * 4),
    "conv-tf-same": lambda: Graph().conv(8, 3, 2, pads=(0, 0, 1, 1)),
    "conv-map-2": lambda: Graph(8, 2, 2).conv(8, 1),
    "conv-dilated": lambda: Graph().conv(8, dilation=2),
    "conv-5x5": lambda: Graph().conv(8, 5),
    "conv-grouped": lambda: Graph(8).conv(8, groups=2),
    "conv-relu": lambda: Graph().conv(8, act="relu"),
    "conv-silu": lambda: Graph().conv(8, act="silu"),
    "conv-prelu": lambda: Graph().conv(8, act="prelu"),
    "depthwise": lambda: Graph(8).depthwise(),
    "depthwise-s2": lambda: Graph(8).depthwise(2),
    "depthwise-s2-odd": lambda: Graph(8, 17, 17).depthwise(2),
    "transposed": lambda: Graph(3, 8, 8).transposed(8, 3, 2, (1,) * 4, (1, 1)),
    "batch-norm": lambda: Graph().conv(8).batch_norm(),
    "pool": lambda: Graph().conv(8).pool(),
    "average-pool": lambda: Graph().conv(8).pool(kind="AveragePool"),
    "cpu-pool": lambda: Graph().conv(8).pool(3, 2, pads=(1,) * 4),
    "global-pool": lambda: Graph().conv(8).op("GlobalAveragePool"),
    "resize": lambda: Graph(3, 8, 8).conv(8).resize("nearest", "asymmetric"),
    "concat": _joined("Concat", axis=1, channels=4),
    "add": _joined("Add"),
    "add-513": _joined("Add", channels=513, side=4),
    "sub": _joined("Sub"),
    "mul": _joined("Mul"),
    "max": _joined("Max"),
    "split": _split,
    "slice": _slice,
    "pad": _padded,
    "reshape": _reshaped,
    "transpose": lambda: Graph().conv(8).op("Transpose", perm=[0, 1, 3, 2]),
    "softmax": lambda: Graph().conv(8).op("Softmax", axis=1),
    "squeeze-excite": lambda: Graph().conv(8).squeeze_excite(),
}
"""Networks that end in a layer of each kind, whose result has values of both signs wherever it can."""


def _mul_constant(graph: Graph) -> Graph:
    return graph.op("Mul", graph.constant(0.5))


def _add_constant(graph: Graph) -> Graph:
    return graph.op("Add", graph.constant(0.5))


FOLLOWERS: dict[str, Callable[[Graph], Graph]] = {
    "clip": lambda graph: graph.clip(0, 2),
    "relu": lambda graph: graph.act("relu"),
    "leaky": lambda graph: graph.act("leaky"),
    "sigmoid": lambda graph: graph.act("Sigmoid"),
    "silu": lambda graph: graph.act("silu"),
    "prelu": lambda graph: graph.act("prelu"),
    "mul-constant": _mul_constant,
    "add-constant": _add_constant,
    "batch-norm": lambda graph: graph.batch_norm(),
    "conv-1x1": lambda graph: graph.conv(8, 1),
    "conv-3x3": lambda graph: graph.conv(8),
    "depthwise": lambda graph: graph.depthwise(),
    "pool": lambda graph: graph.pool(),
    "average-pool": lambda graph: graph.pool(kind="AveragePool"),
    "head": lambda graph: graph.global_mean().gemm(5),
    "resize": lambda graph: graph.resize("nearest", "asymmetric"),
}
"""Layers to put behind each."""

_TOO_SMALL = {"conv-map-2", "global-pool"}
"""Contexts whose map no pool or window fits."""


def _row(context: str, follower: str) -> Row:
    if follower in ("clip", "relu"):
        if context in ("pool", "average-pool"):
            return Row.ACT_AFTER_POOL
        if not context.startswith(("conv", "depthwise")):
            return Row.CLIP_ELSEWHERE
    return Row.NONE


def _case(context: str, follower: str) -> Case:
    return Case(
        f"after-{context}-{follower}",
        lambda: FOLLOWERS[follower](CONTEXTS[context]()),
        _row(context, follower),
    )


CASES = [
    _case(context, follower)
    for context in CONTEXTS
    for follower in FOLLOWERS
    if not (context in _TOO_SMALL and "pool" in follower)
]
