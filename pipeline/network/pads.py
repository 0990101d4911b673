"""Pads of convolutions and pools, in numbers, however the exporter wrote them."""

from __future__ import annotations

import onnx
from onnx import helper

from pipeline.network.operation import Operation, describe, value_shapes

_PADDED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")


def explicit_pads(
    operation: Operation, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return a window operator's pads as (top, left, bottom, right), ``auto_pad`` resolved.

    SAME: the output has ⌈in / stride⌉ pixels; an odd pad goes to the end (UPPER) or the start (LOWER).
    """
    mode = str(operation.attributes.get("auto_pad", "NOTSET"))
    if mode == "NOTSET":
        given = [int(pad) for pad in operation.attributes.get("pads", (0, 0, 0, 0))]
        if len(given) != 4:
            raise operation.refuse(f"{len(given)} pads for an image, which has 4 sides")
        return given[0], given[1], given[2], given[3]
    if mode == "VALID":
        return 0, 0, 0, 0
    begin, end = [], []
    for size, k, s, d in zip(operation.sizes()[1:], kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small = total // 2
        begin.append(small if mode == "SAME_UPPER" else total - small)
        end.append(total - small if mode == "SAME_UPPER" else small)
    return begin[0], begin[1], end[0], end[1]


def transposed_pads(
    operation: Operation,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    extra: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Return the pads of a ConvTranspose as (top, left, bottom, right), ``output_shape`` and ``auto_pad`` resolved."""
    mode = str(operation.attributes.get("auto_pad", "NOTSET"))
    wanted = operation.attributes.get("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        return explicit_pads(operation, kernel, stride, dilation)
    sizes = operation.sizes()[1:]
    if len(sizes) != len(stride) or (wanted is not None and len(wanted) < len(stride)):
        raise operation.refuse(f"{len(sizes)} dimensions of pixels, but strides of {len(stride)}")
    target = [int(size) for size in wanted[-2:]] if wanted else [n * s for n, s in zip(sizes, stride, strict=True)]
    begin, end = [], []
    for size, out, k, s, d, e in zip(sizes, target, kernel, stride, dilation, extra, strict=True):
        total = s * (size - 1) + e + (k - 1) * d + 1 - out
        if total < 0:
            raise operation.refuse(f"an output of {out} pixels is more than its kernel reaches")
        small = total // 2
        begin.append(small if mode == "SAME_UPPER" else total - small)
        end.append(total - small if mode == "SAME_UPPER" else small)
    return begin[0], begin[1], end[0], end[1]


def write_explicit_pads(graph: onnx.GraphProto, where: str) -> None:
    """Write ``auto_pad`` and a ConvTranspose's ``output_shape`` as pads.

    Raises:
        NetworkError: names the layer whose input's size is not known.
    """
    shapes = value_shapes(graph)
    for node in graph.node:
        automatic = {a.name for a in node.attribute} & {"auto_pad", "output_shape"}
        if node.op_type not in _PADDED or not automatic:
            continue
        operation = describe(node, f"{where}: {node.name}" if where else node.name, {}, shapes)
        window = _window(operation)
        if window is None:
            continue
        if node.op_type == "ConvTranspose":
            extra = operation.attributes.get("output_padding", (0, 0))
            pads = transposed_pads(operation, *window, (int(extra[0]), int(extra[1])))
        else:
            pads = explicit_pads(operation, *window)
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "output_shape", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", list(pads))])


def _window(operation: Operation) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None:
    """Return kernel, stride and dilation; None where the window is not over height and width."""
    weight = operation.inputs[1] if len(operation.inputs) > 1 else None
    kernel = operation.attributes.get("kernel_shape") or (weight or ())[2:]
    values = [kernel, operation.attributes.get("strides", (1, 1)), operation.attributes.get("dilations", (1, 1))]
    if any(len(value) != 2 or None in value for value in values):
        return None
    first, second, third = ((int(value[0]), int(value[1])) for value in values)
    return first, second, third
