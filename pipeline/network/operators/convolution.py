"""Conv and ConvTranspose ⇄ ``nn.Conv2d`` and ``nn.ConvTranspose2d``.

PyTorch pads both sides alike; where ONNX does not, a padding layer goes before the convolution. Written back, a
zero-padding layer whose only reader is a convolution becomes the convolution's own ``pads`` again (see ``lower``).
"""

from __future__ import annotations

from torch import nn

from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifted, Lifter, Writer, Writing, Written, parameter
from pipeline.network.pads import explicit_pads, transposed_pads


def lift_conv(operation: Operation) -> Lifted:
    """Return the ``nn.Conv2d`` of a Conv, and its padding layer where the pads differ from side to side."""
    weight = operation.required(1, "weights")
    bias = operation.optional(2, "bias")
    if weight.ndim != 4:
        raise operation.refuse(f"its kernel has {weight.ndim - 2} dimensions instead of 2")
    groups = int(operation.attributes.get("group", 1))
    _check_channels(operation, int(weight.shape[1]) * groups, int(weight.shape[0]), groups)
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
    _check_channels(operation, int(weight.shape[0]), int(weight.shape[1]) * groups, groups)
    stride = _two(operation, "strides", 1)
    dilation = _two(operation, "dilations", 1)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    extra = _two(operation, "output_padding", 0)
    top, left, bottom, right = transposed_pads(operation, kernel, stride, dilation, extra)
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


def _check_channels(operation: Operation, inputs: int, outputs: int, groups: int) -> None:
    """Refuse weights that do not fit the input or the groups, which ONNX's shape inference lets pass."""
    given, bias = operation.shape()[1], operation.constant(2)
    if given is not None and given != inputs:
        raise operation.refuse(f"its weights are for {inputs} channels, its input has {given}")
    if groups < 1 or inputs % groups or outputs % groups:
        raise operation.refuse(f"{inputs} input and {outputs} output channels do not make {groups} groups")
    if bias is not None and bias.shape != (outputs,):
        raise operation.refuse(f"a bias of shape {list(bias.shape)} for {outputs} channels")


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
    """Return the pads at the start and at the end, PyTorch's words ``same`` and ``valid`` resolved."""
    if conv.padding == "valid":
        return (0, 0), (0, 0)
    if conv.padding == "same":  # stride 1; the odd pixel goes to the end
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return (totals[0] // 2, totals[1] // 2), (totals[0] - totals[0] // 2, totals[1] - totals[1] // 2)
    pads = (int(conv.padding[0]), int(conv.padding[1]))
    return pads, pads


LIFT: dict[str, Lifter] = {"Conv": lift_conv, "ConvTranspose": lift_conv_transpose}
WRITE: dict[type[nn.Module], Writer] = {nn.Conv2d: write_conv, nn.ConvTranspose2d: write_conv_transpose}
