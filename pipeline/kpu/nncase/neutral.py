"""Rewrites that nncase applies for every target (kendryte/nncase v1.9.0, src/transforms/neutral).

Rewrites that only move or drop reshapes, transposes, pads and slices are in ``motion``.
"""

from __future__ import annotations

from pipeline.kpu.nncase.graph import Graph, Node, Value, connect, redirect
from pipeline.kpu.nncase.nodes import (
    FULL,
    INTEGER_ZERO,
    binary,
    bitcast,
    conv2d,
    count,
    fused,
    is_constant,
    layers_of,
    pad,
    reduce,
    slice_,
)
from pipeline.kpu.nncase.rewrite import rewrite

MIN_SIDE = 4


def only(value: Value) -> bool:
    """Whether a value has one reader, so that it may vanish between two nodes that become one."""
    return len(value.users) == 1


def _constant_operand(node: Node) -> tuple[Value, Value] | None:
    """Return a binary's (constant, other) operand where one is constant."""
    a, b = node.inputs
    if is_constant(b):
        return b, a
    return (a, b) if is_constant(a) else None


@rewrite("binary")
def remove_nonsense_binary(graph: Graph, node: Node) -> bool:
    """Drop ``x + 0``, ``x − 0``, ``x · 1`` and ``x / 1`` (remove_binary.cpp)."""
    operands = _constant_operand(node)
    if operands is None:
        return False
    constant, other = operands
    neutral = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0}.get(node["kind"])
    if neutral is None or constant.node["value"] != neutral:
        return False
    if node["kind"] in ("sub", "div") and constant is not node.inputs[1]:
        return False
    for user, index in list(node.output.users):
        if node.output.shape == other.shape:
            connect(user, index, other)
        else:
            connect(user, index, graph.add("broadcast", [other], node.output.shape, other.dtype, node.layers))
    return True


@rewrite("binary")
def fold_layernorm(graph: Graph, node: Node) -> bool:
    """Make ``(x − mean) / √(variance + ε) · γ + β`` one operator (fold_layernorm.cpp, pattern 2)."""
    mul = _parent_binary(node, "add", "mul")
    div = _parent_binary(mul, "mul", "div") if mul is not None else None
    root = div.parent("unary") if div is not None else None
    stable = root.parent("binary") if root is not None and root["kind"] == "sqrt" else None
    variance = stable.parent("reduce") if stable is not None and stable["kind"] == "add" else None
    square = variance.parent("binary") if variance is not None and variance["kind"] == "mean" else None
    centred = _parent_binary(square, "pow", "sub") if square is not None else None
    mean = centred.parent("reduce") if centred is not None else None
    if mul is None or div is None or mean is None or centred is None or mean["kind"] != "mean":
        return False
    source = mean.inputs[0]
    scale, shift = mul.parent("constant"), node.parent("constant")
    if source not in centred.inputs or div.parent("binary") is not centred or scale is None or shift is None:
        return False
    layers = layers_of(mean, node)
    inputs = [source, scale.output, shift.output]
    redirect(node.output, graph.add("layer_normalization", inputs, source.shape, "f32", layers))
    return True


def _parent_binary(node: Node, kind: str, wanted: str) -> Node | None:
    """Return the arithmetic ``wanted`` that gives an input of arithmetic of a kind."""
    parent = node.parent("binary") if node["kind"] == kind else None
    return parent if parent is not None and parent["kind"] == wanted else None


@rewrite("clamp")
def fuse_clamp(graph: Graph, node: Node) -> bool:
    """Make a clamp part of the convolution or the arithmetic before it (fuse_clamp.cpp)."""
    source = node.inputs[0].node
    if source.op not in ("conv2d", "conv2d_transpose", "binary"):
        return False  # with other readers, nncase makes a second one
    low, high = node["low"], node["high"]
    if low is None or high is None:
        return False
    act = (max(source["act"][0], low), min(source["act"][1], high))
    made = graph.add(
        source.op, source.inputs, source.output.shape, source.output.dtype, layers_of(source, node),
        **{**source.settings, "act": act},
    )  # fmt: skip
    redirect(node.output, made)
    return True


@rewrite("binary")
def fold_conv2d_bias_add(graph: Graph, node: Node) -> bool:
    """Fold an addition of as many constants as channels into a convolution (fold_conv2d_binary.cpp)."""
    operands = _constant_operand(node)
    if node["kind"] != "add" or operands is None:
        return False
    constant, other = operands
    conv = other.node
    if conv.op != "conv2d" or conv["act"] != FULL or count(constant.shape) != other.shape[1]:
        return False
    _replace_conv(graph, conv, node, node["act"])
    return True


@rewrite("conv2d")
def fold_conv2d_mul(graph: Graph, node: Node) -> bool:
    """Fold a product with constants of shape C×1×1 into a convolution (fold_conv2d_binary.cpp)."""
    mul = node.child("binary")
    if mul is None or mul["kind"] != "mul" or node["act"] != FULL or not only(node.output):
        return False
    operands = _constant_operand(mul)
    channels = node.output.shape[1]
    if operands is None or operands[0].shape not in ((channels, 1, 1), (1, channels, 1, 1)):
        return False
    _replace_conv(graph, node, mul, mul["act"])
    return True


def _replace_conv(graph: Graph, conv: Node, after: Node, act: tuple[float, float]) -> None:
    inputs = [conv.inputs[0], graph.constant(conv.inputs[1].shape), graph.constant(conv.inputs[2].shape)]
    made = conv2d(graph, inputs, layers_of(conv, after), **{**conv.settings, "act": act})
    redirect(after.output, made)


@rewrite("conv2d")
def binary_reduce_window2d_motion_up(graph: Graph, node: Node) -> bool:
    """Move arithmetic with a constant a channel up over a max-pool (binary_motion.cpp)."""
    pool = node.child("reduce_window2d")
    after = pool.child("binary") if pool is not None else None
    if pool is None or after is None or not only(node.output) or not only(pool.output):
        return False
    operands = _constant_operand(after)
    channels = node.output.shape[1]
    if (
        operands is None
        or node["act"] != FULL
        or pool["kind"] not in ("max", "min")
        or after["kind"] not in ("add", "mul")
        or operands[0].shape not in ((channels, 1, 1), (1, channels, 1, 1))
        or (after["kind"] == "mul" and operands[0].node.settings.get("negative"))
    ):
        return False
    moved = binary(graph, after["kind"], node.output, operands[0], after.layers)
    moved.node.settings["act"] = after["act"]
    pooled = graph.add("reduce_window2d", [moved], pool.output.shape, "f32", pool.layers, **pool.settings)
    redirect(after.output, pooled)
    return True


@rewrite("reduce_window2d")
def global_reduce_window_to_reduce(graph: Graph, node: Node) -> bool:
    """Make a pool over the whole of a large map a reduction (global_reduce_window_to_reduce.cpp)."""
    source = node.inputs[0]
    if node["kernel"] != source.shape[2:] or any(map(any, node["pads"])):
        return False
    redirect(node.output, reduce(graph, node["kind"], source, (2, 3), True, node.layers))
    return True


@rewrite("matmul")
def matmul_to_conv2d(graph: Graph, node: Node) -> bool:
    """Make a product with a constant matrix a 1×1 convolution (matmul_to_conv2d.cpp)."""
    a, b, bias = node.inputs
    if len(a.shape) != 2 or len(b.shape) != 2 or not is_constant(b):
        return False
    wide = bitcast(graph, a, (*a.shape, 1, 1), node.layers)
    weights = graph.constant((b.shape[1], b.shape[0], 1, 1), key=b.node["key"])
    made = conv2d(
        graph, [wide, weights, bias], node.layers, pads=((0, 0), (0, 0)), strides=(1, 1), dilation=(1, 1), groups=1,
        act=node["act"],
    )  # fmt: skip
    redirect(node.output, bitcast(graph, made, node.output.shape, node.layers))
    return True


@rewrite("binary")
def fold_matmul_add(graph: Graph, node: Node) -> bool:
    """Fold an addition of constants into the product before it (fold_matmul_add.cpp)."""
    operands = _constant_operand(node)
    if node["kind"] != "add" or operands is None:
        return False
    constant, other = operands
    product = other.node
    if product.op == "bitcast" and product.inputs[0].node.op == "matmul":
        product = product.inputs[0].node
    if product.op != "matmul" or product["act"] != FULL:
        return False
    if count(product.inputs[2].shape) != count(constant.shape):
        return False
    made = graph.add(
        "matmul", [*product.inputs[:2], graph.constant(product.inputs[2].shape)], product.output.shape, "f32",
        layers_of(product, node), act=node["act"],
    )  # fmt: skip
    redirect(node.output, bitcast(graph, made, node.output.shape, node.layers))
    return True


@rewrite("conv2d")
def pad_conv(graph: Graph, node: Node) -> bool:
    """Bring a 1×1 or 3×3 convolution's map up to 4×4 (pad_conv.cpp)."""
    source = node.inputs[0]
    if min(source.shape[2:]) >= MIN_SIDE or node.inputs[1].shape[2:] not in ((1, 1), (3, 3)):
        return False
    pads = [(0, 0), (0, 0), *((0, max(0, MIN_SIDE - n)) for n in source.shape[2:])]
    wide = pad(graph, source, pads, node.layers, value=INTEGER_ZERO)
    made = conv2d(graph, [wide, *node.inputs[1:]], node.layers, **node.settings)
    shape = node.output.shape
    redirect(node.output, slice_(graph, made, (0,) * 4, shape, (1,) * 4, node.layers))
    return True


@rewrite("sigmoid")
def split_sigmoid(graph: Graph, node: Node) -> bool:
    """Write a sigmoid as ``1 / (1 + exp(−x))`` (split_sigmoid.cpp)."""
    source = node.inputs[0]
    negated = graph.add("unary", [source], source.shape, "f32", node.layers, kind="neg")
    power = graph.add("unary", [negated], source.shape, "f32", node.layers, kind="exp")
    one = graph.constant((1,), value=1.0)
    total = binary(graph, "add", one, power, node.layers)
    redirect(node.output, binary(graph, "div", one, total, node.layers))
    return True


@rewrite("binary")
def add_to_conv2d(graph: Graph, node: Node) -> bool:
    """Make the sum of two maps a concat and a 1×1 convolution (add_to_conv2d.cpp)."""
    a, b = node.inputs
    if node["kind"] != "add" or len(a.shape) != 4 or a.shape != b.shape:
        return False
    channels = a.shape[1]
    both = concat_of(graph, (a, b), node)
    weights, bias = graph.constant((channels, 2 * channels, 1, 1)), graph.constant((channels,))
    made = conv2d(
        graph, [both, weights, bias], node.layers, pads=((0, 0), (0, 0)), strides=(1, 1), dilation=(1, 1), groups=1,
        act=node["act"],
    )  # fmt: skip
    redirect(node.output, made)
    return True


def concat_of(graph: Graph, sources: tuple[Value, Value], node: Node) -> Value:
    """Put two maps' channels behind each other."""
    batch, channels, *sides = sources[0].shape
    return graph.add("concat", sources, (batch, 2 * channels, *sides), "f32", node.layers, axis=1)


@rewrite("unary")
def fuse_one_unary(graph: Graph, node: Node) -> bool:
    """Make a function of one value a fused one (fuse_unary.cpp)."""
    redirect(node.output, fused(graph, node.inputs[0], node))
    return True


@rewrite("binary")
def fuse_one_binary(graph: Graph, node: Node) -> bool:
    """Make arithmetic with one constant number a fused function (fuse_unary.cpp)."""
    operands = _constant_operand(node)
    if operands is None or count(operands[0].shape) != 1:
        return False
    redirect(node.output, fused(graph, operands[1], node))
    return True


@rewrite("fused_unary")
def fuse_two_fused_unary(graph: Graph, node: Node) -> bool:
    """Make a function of a function one (fuse_unary.cpp)."""
    after = node.child("fused_unary")
    if after is None:
        return False  # with other readers, nncase makes a second one
    redirect(after.output, fused(graph, node.inputs[0], node, after))
    return True


@rewrite("binary")
def fuse_one_fused_unary_with_binary(graph: Graph, node: Node) -> bool:
    """Make ``f(x) ∘ x`` one function (fuse_unary.cpp)."""
    for index in (0, 1):
        f = node.parent("fused_unary", index)
        if f is not None and f.inputs[0] is node.inputs[1 - index]:
            redirect(node.output, fused(graph, f.inputs[0], f, node))
            return True
    return False


@rewrite("binary")
def fuse_two_fused_unary_with_binary(graph: Graph, node: Node) -> bool:
    """Make ``f(x) ∘ g(x)`` one function (fuse_unary.cpp)."""
    f, g = node.parent("fused_unary", 0), node.parent("fused_unary", 1)
    if f is None or g is None or f.inputs[0] is not g.inputs[0]:
        return False
    redirect(node.output, fused(graph, f.inputs[0], f, g, node))
    return True
