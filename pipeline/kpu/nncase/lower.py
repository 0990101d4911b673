"""From an ONNX network to the program that nncase 1.9 makes of it: import, passes, functions, then buffers."""

from __future__ import annotations

import onnx

from pipeline.kpu.nncase.buffers import add_copies, mark_idle
from pipeline.kpu.nncase.graph import Graph, Node, Value
from pipeline.kpu.nncase.imports import import_onnx
from pipeline.kpu.nncase.passes import PartsShare, run_passes
from pipeline.kpu.nncase.program import CpuOp, Function, KpuConv, Program, Refusal, Tensor, shape_mismatch
from pipeline.kpu.nncase.regions import Function as Cut
from pipeline.kpu.nncase.regions import cut_functions
from pipeline.kpu.nncase.schedule import Placed, buffers
from pipeline.kpu.nncase.text import text_bytes

NOT_RUNNABLE = {
    "clamp": "a Clip that no convolution and no arithmetic took has no emitter: it may only follow a convolution",
    "fused_unary": "an activation behind a fused pool has no emitter: put the activation before the pool",
    "conv2d_transpose": "a transposed convolution other than 3×3 (or 1×1) has no emitter",
    "sigmoid": "a Sigmoid has no emitter",
    "fake_conv": "a convolution was left between float and the KPU",
}
"""Operators that nncase finds no emitter for, where they are left after all passes."""


INVALID_ARGUMENT = "Invalid argument: the KPU reads a part of what the CPU reads as well, not from its start"


def lower(
    model: onnx.ModelProto,
    *,
    prepared: bool = True,
    float_output: bool = True,
    float_head: bool = False,
    parts_share: PartsShare = None,
) -> Program:
    """Return the program that nncase 1.9 makes of a network.

    Args:
        model: ONNX with one image input of fixed size. Weights are read only where they are a shape or an axis.
        prepared: as kpufit gives it to nncase, BatchNorm folded and ReLUs written as clamps; else as it is.
        float_output: whether the outputs leave as float32; else as uint8.
        float_head: whether fully connected layers run in float on the CPU (kmodels v3 and v4, written by kpufit), not
            as 1×1 convolutions on a 4×4 map (v5, written by nncase).
        parts_share: see ``run_passes``.

    Raises:
        NetworkError: not exactly one image input of fixed size, or a tensor that nothing gives.
    """
    imported = import_onnx(model, prepared=prepared)
    graph = imported.graph
    run_passes(graph, parts_share, float_head=float_head, float_output=float_output)
    for node in graph.nodes():
        if node.op in ("kpu_upload", "kpu_conv2d"):
            node.output.place = "kpu"
    refusals = (*imported.refusals, *_without_emitter(graph))
    mark_idle(graph)
    functions = {id(cut.call): cut for cut in cut_functions(graph)}
    add_copies(graph)
    for cut in functions.values():
        add_copies(cut.graph)
    fails = tuple(failure for cut in functions.values() for failure in _unreachable_parts(cut))
    steps = _steps(graph, functions)
    outputs = tuple(_tensor(node.inputs[0]) for node in graph.outputs)
    data = _pool(buffers(graph), "data")
    return Program(_tensor(graph.inputs[0].output), outputs, steps, data, imported.shapes, refusals, fails)


def _without_emitter(graph: Graph) -> list[Refusal]:
    return [
        Refusal(node.layers[-1] if node.layers else node.op, node.op, _why(node))
        for node in graph.nodes()
        if node.op in NOT_RUNNABLE or node.op == "shape_mismatch"
    ]


def _why(node: Node) -> str:
    if node.op == "shape_mismatch":
        return shape_mismatch(node["given"], node.output.shape)
    return NOT_RUNNABLE[node.op]


def _unreachable_parts(cut: Cut) -> list[Refusal]:
    """Return the parts of a function's inputs and outputs that it reads behind their start.

    nncase's runtime looks a tensor up by where it starts (k210_runtime_function, memory_at) and finds none there.
    """
    found = []
    for node in cut.graph.nodes():
        if node.op != "slice" or not any(node["begin"]) or node.output.node.action:
            continue
        source = node.inputs[0]
        while source.node.op in ("slice", "bitcast") and not source.node.action:
            source = source.node.inputs[0]
        if source.place in ("input", "output", "shared"):
            found.append(Refusal(node.layers[-1] if node.layers else node.op, node.op, INVALID_ARGUMENT))
    return found


def _steps(graph: Graph, functions: dict[int, Cut]) -> tuple[Function | CpuOp, ...]:
    steps: list[Function | CpuOp] = []
    seen: set[int] = set()
    for node in graph.nodes():
        if node.op == "call":
            steps.append(_function(functions[id(node)]))
        elif node.action and node.op not in ("input", "output", "constant"):
            steps.append(_cpu_op(node, seen))
    return tuple(steps)


def _tensor(value: Value) -> Tensor:
    return Tensor(value.shape, value.size)


def _cpu_op(node: Node, seen: set[int]) -> CpuOp:
    constants = []
    for value in node.inputs:
        if value.node.op == "constant" and id(value) not in seen:
            seen.add(id(value))
            constants.append(value.size)
    given = [value for value in node.inputs if value.node.op != "constant"]
    return CpuOp(
        node.op, node.layers, tuple(map(_tensor, given)), _tensor(node.output), tuple(constants), text_bytes(node),
        any(value.node.op == "input" for value in given),
    )  # fmt: skip


def _function(cut: Cut) -> Function:
    nodes = cut.graph.nodes()
    pools = buffers(cut.graph)
    seen: set[int] = set()
    convs = tuple(_conv(node, seen) for node in nodes if node.op == "kpu_conv2d")
    return Function(
        inputs=tuple(map(_tensor, cut.call.inputs)),
        outputs=tuple(map(_tensor, cut.call.outputs)),
        convs=convs,
        uploads=sum(node.op == "kpu_upload" for node in nodes),
        downloads=sum(node.op == "kpu_download" for node in nodes),
        copies=sum(node.op == "copy" for node in nodes),
        reads_image=any(value.node.op == "input" for value in cut.call.inputs),
        maps=_pool(pools, "kpu"),
        data=_pool(pools, "data"),
    )


def _pool(pools: dict[str, list[Placed]], name: str) -> tuple[Placed, ...]:
    return tuple(pools.get(name, ()))


def _conv(node: Node, seen: set[int]) -> KpuConv:
    sizes = []
    for value in node.inputs[1:]:
        sizes.append(0 if id(value) in seen else value.size)
        seen.add(id(value))
    return KpuConv(
        node.layers, node.inputs[0].shape, node.output.shape, node["kernel"], node["depthwise"], node["pool"],
        (sizes[0], sizes[1], sizes[2]),
    )  # fmt: skip
