"""Conv and ConvTranspose ⇄ ``nn.Conv2d`` and ``nn.ConvTranspose2d``.

PyTorch pads both sides alike; where ONNX does not, a padding layer goes before the convolution. Written back, a
zero-padding layer whose only reader is a convolution becomes the convolution's own ``pads`` again (see ``lower``).
"""

from __future__ import annotations

from torch import nn

from pipeline.network.operators.operation import Layer, Lifted, Lifter, Operation, Writer, Writing, Written, parameter


def lift_conv(operation: Operation) -> Lifted:
    """Return the ``nn.Conv2d`` of a Conv, and its padding layer where the pads differ from side to side."""
    weight = operation.required(1, "weights")
    bias = operation.optional(2, "bias")
    if weight.ndim != 4:
        raise operation.refuse(f"its kernel has {weight.ndim - 2} dimensions instead of 2")
    groups = int(operation.attributes.get("group", 1))
    stride = _two(operation, "strides", 1)
    dilation = _two(operation, "dilations", 1)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    top, left, bottom, right = explicit_pads(operation, kernel, stride, dilation)
    even = (top, left) == (bottom, right)
    conv = nn.Conv2d(
        int(weight.shape[1]) * groups,
        int(weight.shape[0]),
        kernel,
        stride,
        (top, left) if even else 0,
        dilation,
        groups,
        bias=bias is not None,
        device="meta",
    )
    conv.weight = parameter(weight)
    if bias is not None:
        conv.bias = parameter(bias)
    return Lifted(conv, before=None if even else nn.ZeroPad2d((left, right, top, bottom)))


def lift_conv_transpose(operation: Operation) -> Lifted:
    """Return the ``nn.ConvTranspose2d`` of a ConvTranspose; pads that differ become a crop after it."""
    weight = operation.required(1, "weights")
    bias = operation.optional(2, "bias")
    if weight.ndim != 4:
        raise operation.refuse(f"its kernel has {weight.ndim - 2} dimensions instead of 2")
    groups = int(operation.attributes.get("group", 1))
    stride = _two(operation, "strides", 1)
    dilation = _two(operation, "dilations", 1)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    extra = _two(operation, "output_padding", 0)
    top, left, bottom, right = _transposed_pads(operation, kernel, stride, dilation, extra)
    even = (top, left) == (bottom, right)
    conv = nn.ConvTranspose2d(
        int(weight.shape[0]),
        int(weight.shape[1]) * groups,
        kernel,
        stride,
        (top, left) if even else 0,
        extra,
        groups,
        bias is not None,
        dilation,
        device="meta",
    )
    conv.weight = parameter(weight)
    if bias is not None:
        conv.bias = parameter(bias)
    if even:
        return Lifted(conv)
    return Lifted(conv, after=(("crop", nn.ZeroPad2d((-left, -right, -top, -bottom))),))


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


def _transposed_pads(
    operation: Operation,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    extra: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Pads (top, left, bottom, right) of a ConvTranspose, from ``output_shape`` or ``auto_pad`` where these are set."""
    mode = str(operation.attributes.get("auto_pad", "NOTSET"))
    wanted = operation.attributes.get("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        return explicit_pads(operation, kernel, stride, dilation)
    sizes = operation.sizes()[1:]
    target = [int(size) for size in wanted[-2:]] if wanted else [n * s for n, s in zip(sizes, stride, strict=True)]
    begin, end = [], []
    for size, out, k, s, d, e in zip(sizes, target, kernel, stride, dilation, extra, strict=True):
        total = s * (size - 1) + e + (k - 1) * d + 1 - out
        if total < 0:
            raise operation.refuse(f"an output of {out} pixels is more than its kernel reaches")
        small = total // 2
        begin.append(total - small if mode == "SAME_UPPER" else small)
        end.append(small if mode == "SAME_UPPER" else total - small)
    return begin[0], begin[1], end[0], end[1]


def _two(operation: Operation, attribute: str, default: int) -> tuple[int, int]:
    values = [int(value) for value in operation.attributes.get(attribute, (default, default))]
    if len(values) != 2:
        raise operation.refuse(f"{attribute} has {len(values)} values instead of 2")
    return values[0], values[1]


def write_conv(conv: nn.Conv2d, layer: Layer) -> Written:
    """Return the Conv of an ``nn.Conv2d``."""
    if conv.padding_mode != "zeros":
        raise ValueError(f"padding_mode={conv.padding_mode} has no form in ONNX's Conv: pad with a layer of its own")
    writing = Writing(layer)
    inputs = [layer.inputs[0], writing.weight("weight", conv.weight)]
    if conv.bias is not None:
        inputs.append(writing.weight("bias", conv.bias))
    begin, end = _written_pads(conv)
    return writing.last(
        "Conv",
        inputs,
        dilations=list(conv.dilation),
        group=conv.groups,
        kernel_shape=list(conv.kernel_size),
        pads=[*begin, *end],
        strides=list(conv.stride),
    )


def write_conv_transpose(conv: nn.ConvTranspose2d, layer: Layer) -> Written:
    """Return the ConvTranspose of an ``nn.ConvTranspose2d``."""
    writing = Writing(layer)
    inputs = [layer.inputs[0], writing.weight("weight", conv.weight)]
    if conv.bias is not None:
        inputs.append(writing.weight("bias", conv.bias))
    begin, end = _written_pads(conv)
    return writing.last(
        "ConvTranspose",
        inputs,
        dilations=list(conv.dilation),
        group=conv.groups,
        kernel_shape=list(conv.kernel_size),
        output_padding=list(conv.output_padding),
        pads=[*begin, *end],
        strides=list(conv.stride),
    )


def _written_pads(conv: nn.Conv2d | nn.ConvTranspose2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pads at the start and at the end, PyTorch's words ``same`` and ``valid`` resolved."""
    if conv.padding == "valid":
        return (0, 0), (0, 0)
    if conv.padding == "same":  # stride 1; the odd pixel goes to the end
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return (totals[0] // 2, totals[1] // 2), (totals[0] - totals[0] // 2, totals[1] - totals[1] // 2)
    pads = (int(conv.padding[0]), int(conv.padding[1]))
    return pads, pads


LIFT: dict[str, Lifter] = {"Conv": lift_conv, "ConvTranspose": lift_conv_transpose}
WRITE: dict[type[nn.Module], Writer] = {nn.Conv2d: write_conv, nn.ConvTranspose2d: write_conv_transpose}
