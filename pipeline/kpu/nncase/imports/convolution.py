"""Convolutions (src/importer/onnx/ops/conv.cpp)."""

from __future__ import annotations

from pipeline.errors import NetworkError
from pipeline.kpu.nncase.graph import F32, Shape, Value
from pipeline.kpu.nncase.imports.operator import Import, ImportRefused, Operator
from pipeline.kpu.nncase.nodes import FULL, Padding, conv2d, is_constant
from pipeline.kpu.nncase.tensors import Tensors, pair


def _conv(t: Tensors, o: Operator) -> Value:
    source, weights = t[o.inputs[0]], t[o.inputs[1]]
    if not is_constant(weights):
        raise ImportRefused("weights that the network computes")
    if len(source.shape) != 4:
        raise ImportRefused(f"a convolution over {len(source.shape) - 2} dimensions")
    bias = t[o.inputs[2]] if o.has(2) else t.graph.constant((weights.shape[0],))
    strides, dilation = pair(o.attributes.get("strides")), pair(o.attributes.get("dilations"))
    pads = window_padding(o, source.shape[2:], weights.shape[2:], strides, dilation)
    made = conv2d(
        t.graph, [source, weights, bias], o.layers, pads=pads, strides=strides, dilation=dilation,
        groups=int(o.attributes.get("group", 1)),
    )  # fmt: skip
    if min(made.shape[2:]) < 1:
        raise too_small(o.name, weights.shape[2:], source.shape)
    return made


def _conv_transpose(t: Tensors, o: Operator) -> Value:
    source, weights = t[o.inputs[0]], t[o.inputs[1]]
    groups = int(o.attributes.get("group", 1))
    channels = weights.shape[1] * groups
    bias = t[o.inputs[2]] if o.has(2) else t.graph.constant((channels,))
    strides, dilation = pair(o.attributes.get("strides")), pair(o.attributes.get("dilations"))
    extra = pair(o.attributes.get("output_padding"), 0)
    flat = list(o.attributes.get("pads") or (0, 0, 0, 0))
    kernel = weights.shape[2:]
    pads = tuple((flat[i], flat[i + 2]) for i in (0, 1))
    sides = [
        (source.shape[2 + i] - 1) * strides[i] - sum(pads[i]) + dilation[i] * (kernel[i] - 1) + 1 + extra[i]
        for i in (0, 1)
    ]
    turned = t.graph.constant((channels, weights.shape[0] // groups, *kernel), key=("turned", o.inputs[1]))
    return t.graph.add(
        "conv2d_transpose", [source, turned, bias], (source.shape[0], channels, *sides), F32, o.layers, pads=pads,
        strides=strides, dilation=dilation, groups=groups, output_pads=extra, act=FULL,
    )  # fmt: skip


def window_padding(
    o: Operator, sides: Shape, kernel: Shape, strides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Padding, Padding]:
    """Return the padding before and after height and width, ``auto_pad`` worked out."""
    mode = o.attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID", ""):
        flat = list(o.attributes.get("pads") or (0, 0, 0, 0)) if mode != "VALID" else [0, 0, 0, 0]
        return (flat[0], flat[2]), (flat[1], flat[3])
    both = []
    for side, k, s, d in zip(sides, kernel, strides, dilation, strict=True):
        needed = max(0, (-(-side // s) - 1) * s + (k - 1) * d + 1 - side)
        low, high = needed // 2, needed - needed // 2
        both.append((high, low) if mode == "SAME_LOWER" else (low, high))
    return both[0], both[1]


def too_small(name: str, kernel: Shape, shape: Shape) -> NetworkError:
    """Return the error of a window that its padded input does not fill."""
    return NetworkError(
        f"a window of {'×'.join(map(str, kernel))} is larger than its padded input of {'×'.join(map(str, shape[2:]))}",
        where=name,
        remedy="give larger images, or fewer strides and pools before this layer",
    )


IMPORTS: dict[str, Import] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
