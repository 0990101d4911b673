"""nncase 1.9's passes in its order (v1.9.0: src/targets/neutral_target.cpp, targets/k210/k210_target.cpp).

The order and the names were compared with the graphs that nncase 1.9.0.20230322 dumps after each pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.kpu.nncase import k210, motion, neutral
from pipeline.kpu.nncase.graph import F32, Graph, Node, Value, connect, prune
from pipeline.kpu.nncase.nodes import FULL, quantize
from pipeline.kpu.nncase.rewrite import run_pass

PartsShare = bool | Callable[[Node], bool] | None
"""Whether parts of maps have the calibrated range of the whole: see ``run_passes``."""

BROADCAST = frozenset({"input", "output", "transpose", "pad", "resize_image", "bitcast", "slice", "reduce_window2d"})
"""Operators whose result has the calibrated range of their input (neutral_target.cpp, add_quantization_broadcast)."""

DEFAULT = (
    motion.dequantize_transpose_motion,
    motion.dequantize_bitcast_motion,
    motion.quantize_transpose_motion,
    motion.quantize_bitcast_motion,
    motion.quantize_slice_motion,
    motion.fold_nop_pad,
    motion.fold_nop_bitcast,
    motion.fold_slice_slice,
    motion.fold_pad_pad,
    motion.fold_pad_slice,
    motion.fold_bitcast,
    neutral.fold_layernorm,
    motion.transpose_binary_motion,
    motion.transpose_constant_binary_motion,
    motion.transpose_concat_motion,
    motion.transpose_pad_motion,
    motion.transpose_function_motion,
    motion.transpose_reduce_motion,
    motion.fold_convert,
    motion.fold_nop_convert,
    neutral.remove_nonsense_binary,
    motion.bitcast_clamp_motion,
    neutral.fuse_clamp,
    neutral.binary_reduce_window2d_motion_up,
    neutral.fold_conv2d_bias_add,
    neutral.fold_conv2d_mul,
    neutral.global_reduce_window_to_reduce,
    motion.transpose_to_reshape,
    motion.fold_transpose,
    motion.fold_nop_transpose,
    motion.fold_nop_slice,
    neutral.fold_matmul_add,
)

FOLD_PAD_CONV = (
    motion.transpose_pad_motion,
    motion.fold_transpose,
    motion.fold_nop_transpose,
    motion.fold_pad_pad,
    motion.fuse_pad_conv2d,
    motion.fold_nop_pad,
)

FUSE_UNARY = (
    neutral.fuse_one_unary,
    neutral.fuse_one_binary,
    neutral.fuse_two_fused_unary,
    neutral.fuse_one_fused_unary_with_binary,
    neutral.fuse_two_fused_unary_with_binary,
)

KPU = (
    k210.eliminate_dilated_conv2d,
    k210.fake_kpu_conv2d,
    k210.strided_slice_motion,
    k210.fuse_fake_kpu_conv2d_strided_slice,
)

PASSES = {
    "fold_pad_conv": FOLD_PAD_CONV,
    "target_independent_pass": DEFAULT,
    "pad_to_slice": (motion.pad_to_slice,),
    "matmul_to_conv2d": (motion.fold_bitcast, motion.fold_nop_bitcast, neutral.matmul_to_conv2d),
    "sigmoid_lowering": (neutral.split_sigmoid,),
    "conv2d_transpose_lowering": (k210.conv2d_transpose,),
    "add_to_conv": (neutral.pad_conv,),
    "annotate_kpu1": (*KPU, *DEFAULT),
    "fuse_unary": FUSE_UNARY,
    "annotate_kpu2": (neutral.add_to_conv2d, *KPU, *DEFAULT),
    "fused_unary_motion": (k210.slice_fused_unary_motion,),
}
"""Before quantisation."""

QUANTISING = {
    "lowering_kpu_conv2d": (k210.kpu_conv2d, motion.fold_quantize),
    "fuse_kpu_pool": (k210.fuse_kpu_conv2d_pool, motion.fold_quantize),
    "fold_kpu_data_exchg": (k210.fold_kpu_upload, motion.fold_quantize),
    "fused_unary_to_lut": (k210.fused_unary_to_lookup,),
    "fold_quantize": (*DEFAULT, motion.fold_quantize),
    "fold_kpu_data_exchg2": (*DEFAULT, motion.fold_quantize),
}
"""After calibration."""


def run_passes(
    graph: Graph,
    parts_share: PartsShare = None,
    seen: Callable[[str, Graph], None] | None = None,
    *,
    float_head: bool = False,
    float_output: bool = True,
) -> None:
    """Take a graph through all passes; ``seen`` is told of it after each.

    Whether a part of a map (half its channels, every other pixel) has the calibrated range of the whole is up to the
    images: ``parts_share`` says so of all or, called with its slice, of each; None: where a clamp with two finite ends
    gives the map, all of whose parts reach both ends.
    """
    prune(graph)
    for name, rewrites in PASSES.items():
        if not (float_head and name == "matmul_to_conv2d"):
            run_pass(graph, rewrites)
        if seen:
            seen(name, graph)
    _mark_quantised(graph, parts_share)
    for name, rewrites in QUANTISING.items():
        if name == "fold_kpu_data_exchg2" and not float_output:
            _quantise_outputs(graph)
        run_pass(graph, rewrites)
        if seen:
            seen(name, graph)


def _quantise_outputs(graph: Graph) -> None:
    """Let the outputs leave as uint8 codes of their range (change_output_type)."""
    for node in graph.outputs:
        value = node.inputs[0]
        if value.dtype == F32:
            connect(node, 0, quantize(graph, value, value.range, value.node.layers))


def _mark_quantised(graph: Graph, parts_share: PartsShare) -> None:
    """Note which values have a calibrated range, and which share one (add_quant_checkpoints, broadcast_output)."""
    nodes = graph.nodes()
    for node in nodes:
        if node.op in ("fused_unary", "fake_conv"):
            for value in (*node.inputs, *node.outputs):
                value.quantised = True
    for node in nodes:
        if node.op not in BROADCAST or not node.inputs or not node.outputs:
            continue
        if node.op != "slice" or _shares(node, parts_share):
            node.output.range = node.inputs[0].range


def _shares(node: Node, parts_share: PartsShare) -> bool:
    """Whether a slice has the range of what it cuts; a crop of what only padding added does, but for rare images."""
    if callable(parts_share):
        return parts_share(node)
    if not node["part"]:
        return True
    return parts_share if parts_share is not None else _is_bounded(node.inputs[0])


def _is_bounded(value: Value) -> bool:
    """Whether a clamp with two finite ends gives a value."""
    node = value.node
    while node.op in BROADCAST and node.inputs:
        node = node.inputs[0].node
    return all(math.isfinite(end) for end in node.settings.get("act", FULL))
