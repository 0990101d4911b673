"""Rewrites that move or drop pads, slices, reshapes and transposes (kendryte/nncase v1.9.0, src/transforms/neutral)."""

from __future__ import annotations

from pipeline.kpu.nncase.graph import U8, Graph, Node, connect, redirect
from pipeline.kpu.nncase.neutral import only
from pipeline.kpu.nncase.nodes import (
    binary,
    bitcast,
    concat,
    conv2d,
    convert,
    dequantize,
    is_constant,
    layers_of,
    mismatched,
    pad,
    quantize,
    reduce,
    slice_,
    transpose,
)
from pipeline.kpu.nncase.rewrite import rewrite


@rewrite("pad")
def fold_nop_pad(graph: Graph, node: Node) -> bool:
    """Drop a pad of nothing, also where it puts something between elements (fold_pad.cpp)."""
    if any(map(any, node["pads"])):
        return False
    if node.inputs[0].shape != node.output.shape:
        redirect(node.output, mismatched(graph, node.inputs[0], node.output))
        return True
    redirect(node.output, node.inputs[0])
    return True


@rewrite("pad")
def fold_pad_pad(graph: Graph, node: Node) -> bool:
    """Make two pads one, without what they put between elements (fold_pad.cpp)."""
    after = node.child("pad")
    if after is None:
        return False
    if node["mode"] != after["mode"] or node["value"] != after["value"]:
        return False
    pads = [(a + c, b + d) for (a, b), (c, d) in zip(node["pads"], after["pads"], strict=True)]
    made = pad(graph, node.inputs[0], pads, layers_of(node, after), (), node["mode"], node["value"])
    redirect(after.output, made if made.shape == after.output.shape else mismatched(graph, made, after.output))
    return True


@rewrite("pad")
def fold_pad_slice(graph: Graph, node: Node) -> bool:
    """Let a slice crop what a pad crops (fold_pad.cpp, fold_pad_strided_slice_transform)."""
    after = node.child("slice")
    if after is None or not only(node.output) or not any(p < 0 for pads in node["pads"] for p in pads):
        return False
    begin, end, pads = list(after["begin"]), list(after["end"]), []
    for axis, (before, behind) in enumerate(node["pads"]):
        if before < 0:
            begin[axis] -= before
            end[axis] -= before
        pads.append((max(0, before), max(0, behind)))
    kept = pad(graph, node.inputs[0], pads, node.layers, node["interior"], node["mode"], node["value"])
    made = slice_(graph, kept, begin, end, after["strides"], layers_of(node, after), part=after["part"])
    redirect(after.output, made)
    return True


@rewrite("pad")
def pad_to_slice(graph: Graph, node: Node) -> bool:
    """Make a pad that only crops a slice (fold_pad.cpp)."""
    if any(p > 0 for pads in node["pads"] for p in pads) or any(node["interior"]):
        return False
    source = node.inputs[0]
    begin = [-before for before, _ in node["pads"]]
    end = [n + after for n, (_, after) in zip(source.shape, node["pads"], strict=True)]
    redirect(node.output, slice_(graph, source, begin, end, (1,) * len(begin), node.layers))
    return True


@rewrite("pad")
def fuse_pad_conv2d(graph: Graph, node: Node) -> bool:
    """Let a convolution pad, with zeros whatever the pad put there (fuse_pad.cpp)."""
    conv = node.child("conv2d")
    if conv is None or len(node["pads"]) != 4 or any(node["interior"]):
        return False
    sides = node["pads"][2:]
    if any(p < 0 for pads in sides for p in pads) or not any(map(sum, sides)) or node["mode"] != "constant":
        return False
    rest = pad(graph, node.inputs[0], [*node["pads"][:2], (0, 0), (0, 0)], node.layers)
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(conv["pads"], sides, strict=True))
    made = conv2d(graph, [rest, *conv.inputs[1:]], layers_of(node, conv), **{**conv.settings, "pads": pads})
    redirect(conv.output, made)
    return True


@rewrite("slice")
def fold_nop_slice(graph: Graph, node: Node) -> bool:
    """Drop a slice that takes everything (fold_slice.cpp)."""
    if node.inputs[0].shape != node.output.shape or any(s != 1 for s in node["strides"]):
        return False
    redirect(node.output, node.inputs[0])
    return True


@rewrite("slice")
def fold_slice_slice(graph: Graph, node: Node) -> bool:
    """Make two slices that cut different axes one (fold_slice.cpp)."""
    after = node.child("slice")
    if after is None or not only(node.output) or len(after["begin"]) != len(node["begin"]):
        return False
    if any(s < 0 for s in (*node["strides"], *after["strides"])):
        return False
    first = [_cuts(node, axis) for axis in range(len(node["begin"]))]
    if any(a and _cuts(after, axis) for axis, a in enumerate(first)):
        return False
    chosen = [node if cuts else after for cuts in first]
    begin, end, strides = ([each[key][axis] for axis, each in enumerate(chosen)] for key in ("begin", "end", "strides"))
    part = node["part"] or after["part"]
    redirect(after.output, slice_(graph, node.inputs[0], begin, end, strides, layers_of(node, after), part=part))
    return True


def _cuts(node: Node, axis: int) -> bool:
    whole = node.inputs[0].shape[axis]
    return not (node["begin"][axis] == 0 and node["end"][axis] == whole and node["strides"][axis] == 1)


@rewrite("convert")
def fold_convert(graph: Graph, node: Node) -> bool:
    """Make two changes of type one, whatever the first would lose (fold_convert.cpp)."""
    after = node.child("convert")
    if after is None:
        return False
    redirect(after.output, convert(graph, node.inputs[0], after.output.dtype, layers_of(node, after)))
    return True


@rewrite("convert")
def fold_nop_convert(graph: Graph, node: Node) -> bool:
    """Drop a change to the same type (fold_convert.cpp)."""
    if node.inputs[0].dtype != node.output.dtype:
        return False
    redirect(node.output, node.inputs[0])
    return True


@rewrite("bitcast")
def fold_bitcast(graph: Graph, node: Node) -> bool:
    """Make two reshapes one (fold_bitcast.cpp)."""
    after = node.child("bitcast")
    if after is None:
        return False
    redirect(after.output, bitcast(graph, node.inputs[0], after.output.shape, layers_of(node, after)))
    return True


@rewrite("bitcast")
def fold_nop_bitcast(graph: Graph, node: Node) -> bool:
    """Drop a reshape to the same shape (fold_bitcast.cpp)."""
    if node.inputs[0].shape != node.output.shape:
        return False
    redirect(node.output, node.inputs[0])
    return True


@rewrite("transpose")
def fold_transpose(graph: Graph, node: Node) -> bool:
    """Make two transposes one (fold_transpose.cpp)."""
    after = node.child("transpose")
    if after is None or len(after["perm"]) != len(node["perm"]):
        return False
    perm = [node["perm"][axis] for axis in after["perm"]]
    redirect(after.output, transpose(graph, node.inputs[0], perm, layers_of(node, after)))
    return True


@rewrite("transpose")
def fold_nop_transpose(graph: Graph, node: Node) -> bool:
    """Drop a transpose that exchanges nothing (fold_transpose.cpp)."""
    if list(node["perm"]) != sorted(node["perm"]):
        return False
    redirect(node.output, node.inputs[0])
    return True


@rewrite("transpose")
def transpose_to_reshape(graph: Graph, node: Node) -> bool:
    """Make a transpose that moves only axes of length 1 a reshape (fold_transpose.cpp)."""
    moved = [axis for axis in node["perm"] if node.inputs[0].shape[axis] != 1]
    if moved != sorted(moved):
        return False
    redirect(node.output, bitcast(graph, node.inputs[0], node.output.shape, node.layers))
    return True


@rewrite("binary")
def transpose_binary_motion(graph: Graph, node: Node) -> bool:
    """Move equal transposes of both operands, read by nothing else, behind the arithmetic (transpose_motion.cpp)."""
    a, b = node.parent("transpose", 0), node.parent("transpose", 1)
    if a is None or b is None or a["perm"] != b["perm"]:
        return False
    if any(user is not node for user, _ in (*a.output.users, *b.output.users)):
        return False
    made = binary(graph, node["kind"], a.inputs[0], b.inputs[0], node.layers)
    made.node.settings["act"] = node["act"]
    redirect(node.output, transpose(graph, made, a["perm"], a.layers))
    return True


@rewrite("binary")
def transpose_constant_binary_motion(graph: Graph, node: Node) -> bool:
    """Move a transpose behind arithmetic with a vector of constants (transpose_motion.cpp)."""
    for index in (0, 1):
        before, constant = node.parent("transpose", index), node.inputs[1 - index]
        if before is None or not is_constant(constant) or len(constant.shape) != 1:
            continue
        shape = constant.shape
        if shape[0] != 1:
            shape += (1,) * (len(before["perm"]) - before["perm"][-1] - 1)
        moved = graph.constant(shape, value=constant.node["value"], key=constant.node["key"])
        made = binary(graph, node["kind"], before.inputs[0], moved, node.layers)
        made.node.settings["act"] = node["act"]
        redirect(node.output, transpose(graph, made, before["perm"], before.layers))
        return True
    return False


@rewrite("concat")
def transpose_concat_motion(graph: Graph, node: Node) -> bool:
    """Move equal transposes of all parts behind a concat (transpose_motion.cpp)."""
    before = [value.node for value in node.inputs]
    if any(each.op != "transpose" or each["perm"] != before[0]["perm"] for each in before):
        return False
    perm = before[0]["perm"]
    made = concat(graph, [each.inputs[0] for each in before], perm[node["axis"]], node.layers)
    redirect(node.output, transpose(graph, made, perm, layers_of(*before)))
    return True


@rewrite("pad")
def transpose_pad_motion(graph: Graph, node: Node) -> bool:
    """Move a transpose up over a pad (transpose_motion.cpp)."""
    after = node.child("transpose")
    if after is None:
        return False
    turned = transpose(graph, node.inputs[0], after["perm"], after.layers)
    pads, gaps = ([node[key][axis] for axis in after["perm"]] for key in ("pads", "interior"))
    redirect(after.output, pad(graph, turned, pads, node.layers, gaps, node["mode"], node["value"]))
    return True


@rewrite("clamp", "sigmoid", "unary")
def transpose_function_motion(graph: Graph, node: Node) -> bool:
    """Move a transpose behind a function of every element (transpose_motion.cpp)."""
    before = node.parent("transpose", 0)
    if before is None:
        return False
    source = before.inputs[0]
    made = graph.add(node.op, [source, *node.inputs[1:]], source.shape, "f32", node.layers, **node.settings)
    redirect(node.output, transpose(graph, made, before["perm"], before.layers))
    return True


@rewrite("clamp")
def bitcast_clamp_motion(graph: Graph, node: Node) -> bool:
    """Move a reshape behind a clamp (bitcast_motion.cpp)."""
    before = node.parent("bitcast", 0)
    if before is None:
        return False
    source = before.inputs[0]
    made = graph.add("clamp", [source], source.shape, "f32", node.layers, **node.settings)
    redirect(node.output, bitcast(graph, made, before.output.shape, before.layers))
    return True


@rewrite("reduce")
def transpose_reduce_motion(graph: Graph, node: Node) -> bool:
    """Move a transpose behind a reduction (transpose_motion.cpp)."""
    before = node.parent("transpose", 0)
    if before is None:
        return False
    axes = [before["perm"][axis] for axis in node["axes"]]
    made = reduce(graph, node["kind"], before.inputs[0], axes, node["keep"], node.layers)
    perm = list(before["perm"])
    if not node["keep"]:
        kept = [axis for axis in perm if axis not in axes]
        perm = [sorted(kept).index(axis) for axis in kept]
    redirect(node.output, transpose(graph, made, perm, before.layers))
    return True


@rewrite("dequantize")
def dequantize_bitcast_motion(graph: Graph, node: Node) -> bool:
    """Reshape codes instead of floats (dequantize_motion.cpp)."""
    after = node.child("bitcast")
    if after is None:
        return False
    codes = bitcast(graph, node.inputs[0], after.output.shape, after.layers)
    redirect(after.output, dequantize(graph, codes, node["range"], node.layers))
    return True


@rewrite("dequantize")
def dequantize_transpose_motion(graph: Graph, node: Node) -> bool:
    """Transpose codes instead of floats (dequantize_motion.cpp)."""
    after = node.child("transpose")
    if after is None or after.child("binary") is not None:
        return False
    codes = transpose(graph, node.inputs[0], after["perm"], after.layers)
    redirect(after.output, dequantize(graph, codes, node["range"], node.layers))
    return True


@rewrite("quantize")
def quantize_bitcast_motion(graph: Graph, node: Node) -> bool:
    """Quantise before a reshape (quantize_motion.cpp)."""
    before = node.parent("bitcast", 0)
    if before is None:
        return False
    codes = quantize(graph, before.inputs[0], node["range"], node.layers)
    redirect(node.output, bitcast(graph, codes, before.output.shape, before.layers))
    return True


@rewrite("quantize")
def quantize_transpose_motion(graph: Graph, node: Node) -> bool:
    """Quantise before a transpose (quantize_motion.cpp)."""
    before = node.parent("transpose", 0)
    if before is None:
        return False
    codes = quantize(graph, before.inputs[0], node["range"], node.layers)
    redirect(node.output, transpose(graph, codes, before["perm"], before.layers))
    return True


@rewrite("quantize")
def quantize_slice_motion(graph: Graph, node: Node) -> bool:
    """Quantise before a slice, but not of a channel shuffle, taken for a batch-to-space (quantize_motion.cpp)."""
    before = node.parent("slice", 0)
    if before is None or _is_shuffle(before.inputs[0].node):
        return False
    codes = quantize(graph, before.inputs[0], node["range"], node.layers)
    moved = slice_(graph, codes, before["begin"], before["end"], before["strides"], before.layers, part=before["part"])
    redirect(node.output, moved)
    return True


def _is_shuffle(node: Node) -> bool:
    turned = node.parent("transpose", 0) if node.op == "bitcast" else None
    return turned is not None and turned.inputs[0].node.op == "bitcast"


@rewrite("quantize", "dequantize")
def fold_quantize(graph: Graph, node: Node) -> bool:
    """Drop a quantisation and its inverse of the same range (fold_quantize.cpp)."""
    other = "dequantize" if node.op == "quantize" else "quantize"
    for user, _ in node.output.users:
        if user.op != other:
            continue
        if user["range"] is not node["range"]:
            if node.op == "dequantize":
                return False
            continue
        # Other readers of this node keep it; nncase matches only when there are none.
        redirect(user.output, node.inputs[0])
        return True
    return False


_ = (connect, U8)
