"""Copies that buffers shared between operators need, and which of them can go (v1.9.0, optimize_allocation.cpp)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import Graph, Node, Value, connect, redirect
from pipeline.kpu.nncase.rewrite import rewrite, run_pass

SLICE = "buffer_slice"
NO_FUSION = "no_buffer_fusion"
NO_STRIDES = "no_layout_strides"


_STRIDED = frozenset({"slice", "copy", "concat", "bitcast"})
"""Operators whose result may be a part of a larger tensor."""


def mark_idle(graph: Graph) -> None:
    """Note what does no work: slices of step 1, concats, reshapes."""
    nodes = graph.nodes()
    for node in nodes:
        if node.op not in _STRIDED:
            for value in node.outputs:
                value.flags.add(NO_STRIDES)
    for node in nodes:
        if node.op == "slice" and node.action and all(step == 1 for step in node["strides"]):
            node.output.flags |= {SLICE, NO_FUSION}
            node.action = False
    for node in nodes:
        if node.op == "concat":
            node.action = False
    for node in nodes:
        if node.op == "bitcast" and node.action:
            source = node.inputs[0]
            source.flags.add(NO_STRIDES)
            node.output.flags = set(source.flags)
            node.action = False


def add_copies(graph: Graph) -> None:
    """Add a copy wherever memory is shared, then take away those that are not needed."""
    _copies_into_concats(graph)
    _copies_of_slices(graph)
    _copies_to_outputs(graph)
    _copies_into_reshapes(graph)
    run_pass(
        graph,
        (
            remove_copy_to_output,
            remove_simple_copy_from_slice,
            remove_strided_copy_from_slice,
            remove_copy_to_concat,
            remove_copy_to_bitcast,
        ),
    )


def _copy(graph: Graph, source: Value) -> Value:
    return graph.add("copy", [source], source.shape, source.dtype, source.node.layers)


def _copies_into_concats(graph: Graph) -> None:
    for node in graph.nodes():
        if node.op == "concat":
            for index, value in enumerate(list(node.inputs)):
                if value.node.op != "copy":
                    connect(node, index, _copy(graph, value))


def _copies_of_slices(graph: Graph) -> None:
    for node in graph.nodes():
        if node.op != "slice" or node.action:
            continue
        users = list(node.output.users)
        if any(user.op != "copy" for user, _ in users):
            copied = _copy(graph, node.output)
            for user, index in users:
                connect(user, index, copied)


def _copies_to_outputs(graph: Graph) -> None:
    for node in graph.nodes():
        if node.op != "output":
            continue
        value = node.inputs[0]
        if value.node.op != "copy" or len(value.users) != 1:
            value = _copy(graph, value)
            connect(node, 0, value)
        value.place = "output"


def _copies_into_reshapes(graph: Graph) -> None:
    for node in graph.nodes():
        if node.op == "bitcast" and node.inputs[0].node.op != "copy":
            connect(node, 0, _copy(graph, node.inputs[0]))


@rewrite("copy")
def remove_copy_to_output(graph: Graph, node: Node) -> bool:
    """Let what is copied to an output be made there."""
    output, source = node.child("output"), node.inputs[0]
    if output is None or source.place != "data" or SLICE in source.flags:
        return False
    source.place = "output" if len(source.users) == 1 else "shared"
    source.flags.add(NO_STRIDES)
    connect(output, 0, source)
    return True


@rewrite("slice")
def remove_simple_copy_from_slice(graph: Graph, node: Node) -> bool:
    """Read a slice that is one piece of memory where it lies."""
    copy = _copy_of(node)
    if copy is None or not is_simple(node):
        return False
    copy.inputs[0].flags.add(NO_STRIDES)
    redirect(copy.output, copy.inputs[0])
    return True


@rewrite("slice")
def remove_strided_copy_from_slice(graph: Graph, node: Node) -> bool:
    """Read a slice where it lies, by its strides, where all readers can."""
    copy = _copy_of(node)
    if copy is None or is_simple(node) or NO_STRIDES in copy.output.flags or NO_STRIDES in node.output.flags:
        return False
    if not all(reads_strides(user) for user, _ in copy.output.users):
        return False
    redirect(copy.output, copy.inputs[0])
    return True


def _copy_of(node: Node) -> Node | None:
    copy = node.child("copy")
    if node.action or copy is None or copy.child("output") is not None or copy.child("concat") is not None:
        return None
    return copy


DENSE = frozenset({"bitcast", "kpu_upload"})
"""Operators that only read dense tensors (cnctr_attr_no_layout_strides of their input)."""


def reads_strides(node: Node) -> bool:
    """Whether an operator can read a tensor that is a part of a larger one."""
    return node.op not in DENSE


def is_simple(node: Node) -> bool:
    """Whether a slice cuts only the first axis that is longer than 1 (op_utils.h, is_simple_slice)."""
    may_cut = True
    for axis, n in enumerate(node.inputs[0].shape):
        if node["begin"][axis] != 0 or node["end"][axis] != n:
            if not may_cut:
                return False
            may_cut = False
        elif n != 1:
            may_cut = False
    return True


@rewrite("copy")
def remove_copy_to_concat(graph: Graph, node: Node) -> bool:
    """Let a part of a concat be made in its place."""
    concat, source = node.child("concat"), node.inputs[0]
    if concat is None or source.place != "data" or source.flags & {NO_FUSION, SLICE}:
        return False
    leading = concat.inputs[0].shape[: concat["axis"]]
    simple = all(n == 1 for n in leading)
    if not simple and NO_STRIDES in source.flags:
        return False
    before = source.node
    if before.op == "concat" and before["axis"] != concat["axis"]:
        return False
    source.flags.add(NO_FUSION)
    redirect(node.output, source)
    return True


@rewrite("copy")
def remove_copy_to_bitcast(graph: Graph, node: Node) -> bool:
    """Let a reshape share its input's memory."""
    reshape, source = node.child("bitcast"), node.inputs[0]
    if reshape is None or NO_FUSION in source.flags:
        return False
    if source.place != "data" and not (source.place == "input" and reshape.child("output") is None):
        return False
    source.flags.add(NO_FUSION)
    redirect(node.output, source)
    return True
