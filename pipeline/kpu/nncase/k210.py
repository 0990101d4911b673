"""Rewrites of nncase's K210 target (kendryte/nncase v1.9.0, modules/k210/src/transforms/k210)."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.nncase.graph import U8, U64, Graph, Node, Shape, redirect
from pipeline.kpu.nncase.neutral import only
from pipeline.kpu.nncase.nodes import (
    Padding,
    bitcast,
    conv2d,
    dequantize,
    fake_conv,
    fused,
    is_constant,
    layers_of,
    mismatched,
    pad,
    quantize,
    slice_,
    transpose,
)
from pipeline.kpu.nncase.rewrite import rewrite

ACTIVATION_BYTES = 144
"""16 segments of 8 bytes and 16 offsets of one."""


def input_fits(shape: Shape) -> bool:
    """Whether the KPU takes a map of this shape as input (kpu_utils.h:21)."""
    return (
        shape[1] <= limits.MAX_CHANNELS
        and limits.MIN_SIDE <= shape[2] <= limits.MAX_HEIGHT
        and limits.MIN_SIDE <= shape[3] <= limits.MAX_WIDTH
    )


def _grown(shape: Shape, height: Padding, width: Padding) -> Shape:
    return (*shape[:2], shape[2] + sum(height), shape[3] + sum(width))


@rewrite("conv2d")
def fake_kpu_conv2d(graph: Graph, node: Node) -> bool:
    """Take a convolution for the KPU, with a pad before and a crop and a stride after (fake_kpu_conv2d.cpp:36-129)."""
    source, weights, bias = node.inputs
    kernel = weights.shape[2]
    if (
        not (is_constant(weights) and is_constant(bias))
        or node["groups"] not in (1, source.shape[1])
        or node["dilation"] != (1, 1)
        or weights.shape[2] != weights.shape[3]
        or kernel not in limits.KERNELS
        or not input_fits(source.shape)
        or node.output.shape[1] > limits.MAX_CHANNELS
    ):
        return False
    own = kernel // 2
    sides = [(before - own, after - own) for before, after in node["pads"]]
    before = [(max(0, a), max(0, b)) for a, b in sides]
    if not input_fits(_grown(source.shape, before[0], before[1])):
        return False
    depthwise = source.shape[1] == node.output.shape[1] == node["groups"]
    wide = pad(graph, source, [(0, 0), (0, 0), *before], node.layers)
    made = fake_conv(
        graph, [wide, weights, bias], node.layers, kernel=kernel, depthwise=depthwise, pool="none", act=node["act"]
    )
    cropped = pad(graph, made, [(0, 0), (0, 0), *((min(0, a), min(0, b)) for a, b in sides)], node.layers)
    strides = (1, 1, *node["strides"])
    part = strides != (1, 1, 1, 1)
    redirect(node.output, slice_(graph, cropped, (0,) * 4, cropped.shape, strides, node.layers, part=part))
    return True


@rewrite("slice")
def strided_slice_motion(graph: Graph, node: Node) -> bool:
    """Move a stride of 2 behind a 1×1 convolution (strided_slice_motion.cpp:32)."""
    conv = node.child("fake_conv")
    if (
        node["strides"] != (1, 1, 2, 2)
        or any(node["begin"])
        or node["end"] != node.inputs[0].shape
        or conv is None
        or not only(node.output)
        or conv["depthwise"]
        or conv["kernel"] != 1
        or conv["pool"] != "none"
    ):
        return False
    before = node.inputs[0].node
    if before.op == "fake_conv" and not before["depthwise"]:
        return False  # that convolution keeps every other pixel itself
    made = fake_conv(
        graph, [node.inputs[0], *conv.inputs[1:]], conv.layers, kernel=1, depthwise=False, pool="none", act=conv["act"]
    )
    redirect(conv.output, slice_(graph, made, (0,) * 4, made.shape, node["strides"], node.layers, part=True))
    return True


@rewrite("fake_conv")
def fuse_fake_kpu_conv2d_strided_slice(graph: Graph, node: Node) -> bool:
    """Let the KPU keep every other pixel itself (fake_kpu_conv2d.cpp:141-209)."""
    after = node.child("slice")
    if node["depthwise"] or after is None or after["strides"] != (1, 1, 2, 2) or not input_fits(after.output.shape):
        return False
    source = node.inputs[0]
    begin = after["begin"]
    top = begin[2] % 2
    height = (top, (after.inputs[0].shape[2] + top) % 2)
    width = (0, source.shape[3] % 2)
    if not input_fits(_grown(source.shape, height, width)):
        return False
    wide = pad(graph, source, [(0, 0), (0, 0), height, width], node.layers)
    pool = "right_top" if begin[3] % 2 else "left_top"
    made = fake_conv(
        graph, [wide, *node.inputs[1:]], layers_of(node, after), kernel=node["kernel"], depthwise=False, pool=pool,
        act=node["act"],
    )  # fmt: skip
    crop_h, crop_w = -(begin[2] // 2 + top), -(begin[3] // 2)
    crops = [
        (crop_h, after.output.shape[2] - made.shape[2] - crop_h),
        (crop_w, after.output.shape[3] - made.shape[3] - crop_w),
    ]
    redirect(after.output, pad(graph, made, [(0, 0), (0, 0), *crops], layers_of(node, after)))
    return True


@rewrite("fake_conv")
def slice_fused_unary_motion(graph: Graph, node: Node) -> bool:
    """Move a function up over a slice or a pad behind a convolution (fused_unary_motion.cpp)."""
    for kind in ("slice", "pad"):
        moved = node.child(kind)
        function = moved.child("fused_unary") if moved is not None else None
        if moved is None or function is None or not only(moved.output):
            continue
        made = fused(graph, moved.inputs[0], function)
        again = graph.add(moved.op, [made], moved.output.shape, "f32", moved.layers, **moved.settings)
        redirect(function.output, again)
        return True
    return False


@rewrite("conv2d")
def eliminate_dilated_conv2d(graph: Graph, node: Node) -> bool:
    """Turn dilation into more, smaller images (src/transforms/neutral/eliminate_dilated_conv2d.cpp:155)."""
    source = node.inputs[0]
    dh, dw = node["dilation"]
    if (dh, dw) == (1, 1) or node["strides"] != (1, 1) or source.shape[0] != 1:
        return False
    pads = [list(p) for p in node["pads"]]
    extra = [(-(source.shape[2 + i] + sum(pads[i]))) % d for i, d in enumerate((dh, dw))]
    for i in (0, 1):
        pads[i][1] += extra[i]
    wide = pad(graph, source, [(0, 0), (0, 0), *((a, b) for a, b in pads)], node.layers)
    _, channels, height, width = wide.shape
    parts = bitcast(graph, wide, (channels * (height // dh), dh, width // dw, dw), node.layers)
    turned = transpose(graph, parts, (1, 3, 0, 2), node.layers)
    images = bitcast(graph, turned, (dh * dw, channels, height // dh, width // dw), node.layers)
    settings = {**node.settings, "pads": ((0, 0), (0, 0)), "dilation": (1, 1)}
    made = conv2d(graph, [images, *node.inputs[1:]], node.layers, **settings)
    _, out, h, w = made.shape
    back = bitcast(graph, made, (dh, dw, out * h, w), node.layers)
    turned = transpose(graph, back, (2, 0, 3, 1), node.layers)
    whole = bitcast(graph, turned, (1, out, h * dh, w * dw), node.layers)
    redirect(node.output, pad(graph, whole, [(0, 0), (0, 0), (0, -extra[0]), (0, -extra[1])], node.layers))
    return True


@rewrite("conv2d_transpose")
def conv2d_transpose(graph: Graph, node: Node) -> bool:
    """Make a transposed convolution a convolution of a padded map (conv2d_transpose_transform.cpp)."""
    source, weights, bias = node.inputs
    kernel = weights.shape[2]
    if (
        node["groups"] not in (1, source.shape[1])
        or node["dilation"] != (1, 1)
        or weights.shape[2] != weights.shape[3]
        or kernel not in limits.KERNELS
        or not input_fits(source.shape)
        or node.output.shape[1] > limits.MAX_CHANNELS
    ):
        return False
    own = kernel // 2
    before = [(max(0, a - own), max(0, b - own)) for a, b in node["pads"]]
    if not input_fits(_grown(source.shape, before[0], before[1])):
        return False
    pads = [(a, b + extra) for (a, b), extra in zip(node["pads"], node["output_pads"], strict=True)]
    gaps = (0, 0, node["strides"][0] - 1, node["strides"][1] - 1)
    wide = pad(graph, source, [(0, 0), (0, 0), *pads], node.layers, gaps)
    made = conv2d(
        graph, [wide, graph.constant(weights.shape), bias], node.layers, pads=((0, 0), (0, 0)), strides=(1, 1),
        dilation=(1, 1), groups=node["groups"],
    )  # fmt: skip
    redirect(node.output, made if made.shape == node.output.shape else mismatched(graph, made, node.output))
    return True


@rewrite("fake_conv")
def kpu_conv2d(graph: Graph, node: Node) -> bool:
    """Quantise a convolution, with the function behind it as its activation table (kpu_conv2d.cpp)."""
    source, weights, bias = node.inputs
    if not (source.quantised and node.output.quantised and is_constant(weights) and is_constant(bias)):
        return False
    last = node
    function = node.child("fused_unary")
    if function is not None and function.output.quantised:
        last = function
    layers = layers_of(node, last)
    codes = quantize(graph, source, source.range, layers)
    up = graph.add("kpu_upload", [codes], codes.shape, U8, layers)
    channels = weights.shape[0]
    tables = [
        graph.constant(weights.shape, U8),
        graph.constant((channels,), U64),
        graph.constant((ACTIVATION_BYTES,), U8),
    ]
    made = graph.add("kpu_conv2d", [up, *tables], node.output.shape, U8, layers, **node.settings)
    down = graph.add("kpu_download", [made], made.shape, U8, layers)
    redirect(last.output, dequantize(graph, down, last.output.range, layers))
    return True


_POOLS = {
    ("max", 2, 2): "max_2_s2",
    ("max", 2, 1): "max_2_s1",
    ("mean", 2, 2): "mean_2_s2",
    ("mean", 2, 1): "mean_2_s1",
}


def _pool_name(node: Node) -> str:
    """Return the KPU's name of a pool, "" where it has none; 4×4 goes with any stride (kpu_utils.h:57)."""
    (height, width), (down, right) = node["kernel"], node["strides"]
    if height != width or down != right or node["kind"] not in ("max", "mean"):
        return ""
    return f"{node['kind']}_4_s4" if height == 4 else _POOLS.get((node["kind"], height, down), "")


@rewrite("kpu_conv2d")
def fuse_kpu_conv2d_pool(graph: Graph, node: Node) -> bool:
    """Let the KPU pool what it convolved (fuse_kpu_conv2d_pool.cpp)."""
    if node["depthwise"] or node["pool"] != "none" or not only(node.output):
        return False
    down = node.child("kpu_download")
    floats = down.child("dequantize") if down is not None and only(down.output) else None
    pool = floats.child("reduce_window2d") if floats is not None and only(floats.output) else None
    if pool is None or floats is None:
        return False
    name = _pool_name(pool)
    source, out = pool.inputs[0].shape, pool.output.shape
    if not name or not input_fits(source) or out[1] > limits.MAX_CHANNELS or pool["dilation"] != (1, 1):
        return False
    wanted = [_pool_padding(name, side) for side in source[2:]]
    if list(pool["pads"]) != wanted:
        return False
    layers = layers_of(node, pool)
    made = graph.add("kpu_conv2d", node.inputs, _pooled(name, source), U8, layers, **{**node.settings, "pool": name})
    again = graph.add("kpu_download", [made], made.shape, U8, layers)
    result = dequantize(graph, again, floats["range"], layers)
    result.quantised = False  # nncase forgets it, so that a function behind the pool finds no emitter
    redirect(pool.output, result if result.shape == pool.output.shape else mismatched(graph, result, pool.output))
    return True


def _pool_padding(name: str, side: int) -> Padding:
    """Return how much padding the KPU's pool does by itself (runtime_op_utility.h, get_kpu_padding)."""
    return (0, 1) if name.endswith("s1") else (0, 0)


def _pooled(name: str, shape: Shape) -> Shape:
    step = int(name[-1])
    return (*shape[:2], shape[2] // step, shape[3] // step)


@rewrite("kpu_download", "kpu_upload")
def fold_kpu_upload(graph: Graph, node: Node) -> bool:
    """Keep a map on the KPU that is downloaded only to be uploaded (fold_kpu_upload.cpp)."""
    other = node.child("kpu_upload" if node.op == "kpu_download" else "kpu_download")
    if other is None:
        return False
    redirect(other.output, node.inputs[0])
    return True


@rewrite("fused_unary")
def fused_unary_to_lookup(graph: Graph, node: Node) -> bool:
    """Make a function that no convolution took a table of 256 (fused_unary_to_lookup1d.cpp)."""
    source = node.inputs[0]
    if not (source.quantised and node.output.quantised):
        return False
    codes = quantize(graph, source, source.range, node.layers)
    table = graph.constant((256,), U8)
    made = graph.add("lut1d", [codes, table], codes.shape, U8, node.layers)
    redirect(node.output, dequantize(graph, made, node.output.range, node.layers))
    return True
