"""From a network's layers to the program that nncase 1.9 makes of them for the K210.

What runs where, and which operators appear between, was read from kmodels that nncase 1.9.0.20230322 compiled from
float TFLite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from pipeline.kpu import limits
from pipeline.kpu.layers import WITHOUT_WORK, Layer, Network
from pipeline.kpu.limits import MIN_SIDE
from pipeline.kpu.placement import (
    is_depthwise,
    is_global_mean,
    is_product,
    pool_fuses,
    runs_on_kpu,
    sums_on_kpu,
    takes_slice,
)
from pipeline.kpu.program import KpuConv, Node, Program, Value, schedule
from pipeline.kpu.shapes import Shape
from pipeline.kpu.stackvm_text import TEXT_BYTES, copy_text, reduce_text

LUT_BYTES = 256


@dataclass
class _Lowering:
    """The program so far. A tensor can exist as uint8, as float, or (converted) as both."""

    network: Network
    float_head: bool
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    alias: dict[str, str] = field(default_factory=dict)
    readers: dict[str, list[Layer]] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)
    views: set[str] = field(default_factory=set)


def lower(network: Network, *, float_output: bool = True, float_head: bool = False) -> Program:
    """Return the program of a network.

    Args:
        network: see ``pipeline.kpu.layers``.
        float_output: whether the outputs leave as float32; else as uint8.
        float_head: whether fully connected layers run in float on the CPU (kmodels v3 and v4, written by kpufit), not
            as 1×1 convolutions on a 4×4 map (v5, written by nncase).
    """
    low = _Lowering(network, float_head)
    low.values[network.input] = Value(network.input_shape, 1)
    for layer in network.layers:
        for tensor in layer.inputs:
            low.readers.setdefault(tensor, []).append(layer)
    for layer in network.layers:
        if layer.output not in low.merged:
            _lower_layer(low, layer)
    outputs = []
    for tensor in network.outputs:
        name = _final(low, tensor, float_output)
        while low.values[name].within:
            name = low.values[name].within
        outputs.append(name)
    return schedule(low.nodes, low.values, network.input, tuple(outputs))


def _lower_layer(low: _Lowering, layer: Layer) -> None:
    if layer.op in WITHOUT_WORK:
        low.alias[layer.output] = layer.inputs[0]
    elif is_product(layer):
        _lower_product(low, layer)
    elif layer.op == "Conv":
        _lower_conv(low, layer)
    elif layer.op == "Add" and sums_on_kpu(layer):
        joined = _concat(low, layer, (1, 2 * layer.shape[1], *layer.shape[2:]))
        _kpu(low, layer, _quantised(low, joined), KpuConv(2 * layer.shape[1], layer.shape[1], 1, False))
    elif layer.op == "Concat" and len(layer.shape) == 4:
        low.alias[layer.output] = _concat(low, layer, layer.shape)
    elif layer.op == "GlobalAveragePool" or is_global_mean(layer):
        rank = 2 if len(layer.shape) == 4 else len(layer.shape)  # TFLite's mean does not keep the dimensions
        _cpu(low, "reduce", layer, (_float(low, layer.inputs[0]),), text=reduce_text(rank))
    elif layer.op in ("MaxPool", "AveragePool"):
        _cpu(low, "reduce_window2d", layer, (_float(low, layer.inputs[0]),))
    elif layer.op == "Scale":
        constant = 4 * layer.in_shape[1]
        first = _cpu(
            low, "binary", layer, (_float(low, layer.inputs[0]),), f"{layer.output}:mul", constants=(constant,)
        )
        _cpu(low, "binary", layer, (first,), constants=(constant,))
    else:
        kind = {"Softmax": "softmax", "Resize": "resize", "Upsample": "resize", "Transpose": "transpose"}.get(layer.op)
        inputs = tuple(_float(low, tensor) for tensor in layer.inputs)
        _cpu(low, kind or layer.op.lower(), layer, inputs, constants=(4 * layer.weights,) if layer.weights else ())


def _lower_conv(low: _Lowering, layer: Layer) -> None:
    channels, out_channels = layer.in_shape[1], layer.shape[1]
    if not runs_on_kpu(layer):
        source = _float(low, layer.inputs[0])
        _cpu(low, "conv2d", layer, (source,), constants=(4 * layer.weights, 4 * out_channels))
        return
    depthwise, stride = is_depthwise(layer), layer.stride[0]
    source, crop = _padded(low, layer)
    conv = KpuConv(channels, out_channels, layer.kernel[0], depthwise)
    full = (1, out_channels, *low.values[source].shape[2:])
    small = min(layer.shape[2:]) < MIN_SIDE
    follower = _only_reader(low, layer.output)
    if not crop and follower is not None and not small and depthwise and stride == 2 and takes_slice(follower):
        whole = _kpu(low, layer, source, conv, f"{layer.output}:full", full)
        low.merged.add(follower.output)
        _kpu(low, follower, whole, KpuConv(follower.in_shape[1], follower.shape[1], 1, False))
    elif crop or (stride == 2 and (depthwise or small)):
        whole = _kpu(low, layer, source, conv, f"{layer.output}:full", full)
        _cpu(low, "slice", layer, (_float(low, whole),))
    elif follower is not None and not depthwise and stride == 1 and full == layer.shape and pool_fuses(follower):
        low.merged.add(follower.output)
        _kpu(low, replace(layer, output=follower.output, shape=follower.shape), source, conv)
    elif small:
        whole = _float(low, _kpu(low, layer, source, conv, f"{layer.output}:full", full))
        low.views.add(whole)
        low.alias[layer.output] = whole
    else:
        _kpu(low, layer, source, conv)


def _padded(low: _Lowering, layer: Layer) -> tuple[str, bool]:
    """Return the uint8 input as the KPU needs it, and whether its output must be cropped.

    The KPU pads exactly kernel // 2 on every side; stride 2 needs an even size (src/transforms/k210/
    fake_kpu_conv2d.cpp:36-209). The rest is done by a float Pad before and a float Slice after.
    """
    own = layer.kernel[0] // 2
    missing = [max(0, pad - own) for pad in layer.pads]
    if layer.stride[0] == 2:
        for axis in (0, 1):
            side = layer.in_shape[2 + axis] + missing[axis] + missing[axis + 2]
            missing[axis + 2] += side % 2
    crop = any(pad < own for pad in layer.pads)
    if crop and layer.stride[0] == 2:
        missing = [2 if i < 2 else pad for i, pad in enumerate(missing)]
    for axis in (0, 1):
        side = layer.in_shape[2 + axis] + missing[axis] + missing[axis + 2]
        missing[axis + 2] += max(0, MIN_SIDE - side)
    if not any(missing):
        return _quantised(low, layer.inputs[0]), crop
    _, channels, height, width = layer.in_shape
    shape = (1, channels, height + missing[0] + missing[2], width + missing[1] + missing[3])
    padded = _cpu(low, "pad", layer, (_float(low, layer.inputs[0]),), f"{layer.output}:padded", shape)
    return _quantised(low, padded), crop


def _lower_product(low: _Lowering, layer: Layer) -> None:
    """Lower a fully connected layer: on the KPU's 4×4 map, as a float convolution, or as a float product."""
    inputs, outputs = math.prod(layer.in_shape[1:]), layer.shape[1]
    tensor = low.alias.get(layer.inputs[0], layer.inputs[0])
    weights = (4 * inputs * outputs, 4 * outputs)
    if low.float_head:
        _cpu(low, "matmul", layer, (_float(low, tensor),), constants=weights)
        return
    value = low.values[_name(low, tensor)]
    if value.item_bytes == 1 and len(value.shape) == 4 and value.shape[2:] != (1, 1):
        tensor = _cpu(low, "transpose", layer, (_name(low, tensor),), f"{layer.output}:nhwc", value.shape, item_bytes=1)
    wide, map_shape = (1, inputs, MIN_SIDE, MIN_SIDE), (1, outputs, MIN_SIDE, MIN_SIDE)
    padded = _cpu(low, "pad", layer, (_float(low, tensor),), f"{layer.output}:padded", wide)
    if max(inputs, outputs) > limits.MAX_CHANNELS:
        result = _cpu(low, "conv2d", layer, (padded,), f"{layer.output}:map", map_shape, constants=weights)
    else:
        conv = KpuConv(inputs, outputs, 1, False)
        result = _kpu(low, layer, _quantised(low, padded), conv, f"{layer.output}:map", map_shape)
        if layer.activation:
            _crop_in_function(low, result, layer.output + ":linear", layer.shape, 2)
            table = (f"{layer.output}:linear",)
            _cpu(low, "lut1d", layer, table, constants=(LUT_BYTES,), item_bytes=1)
            return
        result = _float(low, result)
    cropped = _cpu(low, "copy", layer, (result,), f"{layer.output}:cropped", (1, outputs, 1, 1), text=copy_text(4))
    if layer.output in low.network.outputs:
        _cpu(low, "copy", layer, (cropped,), text=copy_text(2))
    else:
        low.alias[layer.output] = cropped


def _crop_in_function(low: _Lowering, mapped: str, output: str, shape: Shape, copies: int) -> None:
    """Let the function that ends in ``mapped`` crop its padded map by copies and give ``output``."""
    node = low.nodes.pop(mapped)
    low.nodes[output] = replace(node, output=output, copies=copies)
    low.values[output] = Value(shape, 1)
    del low.values[mapped]


def _concat(low: _Lowering, layer: Layer, shape: Shape) -> str:
    """Give every input its part of one float buffer, and return that buffer's value."""
    joined = f"{layer.output}:joined"
    low.values[joined] = Value(shape, 4)
    for index, tensor in enumerate(layer.inputs):
        name = _name(low, tensor)
        value = low.values[name]
        if value.item_bytes == 1:
            name = _float(low, name)
            value = low.values[name]
        if value.within or name in low.views or name not in low.nodes:
            part = _cpu(low, "copy", layer, (name,), f"{joined}:{index}", value.shape, text=copy_text(4))
        else:
            part = name
        low.values[part] = replace(low.values[part], within=joined)
    return joined


def _final(low: _Lowering, tensor: str, as_float: bool) -> str:
    """Return the value that leaves the program for a tensor."""
    name = _name(low, tensor)
    if name in low.views:
        shape = low.network.shapes[tensor]
        low.nodes[tensor] = Node("copy", low.nodes[name].layer, (name,), tensor, text_bytes=copy_text(len(shape)))
        low.values[tensor] = Value(shape, 4)
        del low.alias[tensor]
        name = tensor
    if as_float:
        return _float(low, name)
    chain: list[Node] = []
    source = name
    while source in low.nodes and low.nodes[source].kind in ("copy", "dequantize"):
        chain.append(low.nodes[source])
        source = chain[-1].inputs[0]
    if len(chain) < 2 or low.nodes[source].kind != "kpu":
        return _quantised(low, name)
    shape = low.values[name].shape
    for node in chain:  # a map padded to 4×4 whose values stay uint8: the function itself crops it
        del low.nodes[node.output]
    _crop_in_function(low, source, name, shape, len(chain) - 1)
    return name


def _name(low: _Lowering, tensor: str) -> str:
    """Return the value that a tensor of the network became."""
    while tensor in low.alias:
        tensor = low.alias[tensor]
    return tensor


def _float(low: _Lowering, tensor: str) -> str:
    """Return a tensor as float, dequantised once where it is uint8."""
    return _converted(low, _name(low, tensor), "dequantize", 4)


def _quantised(low: _Lowering, tensor: str) -> str:
    """Return a tensor as uint8, quantised once where it is float."""
    return _converted(low, _name(low, tensor), "quantize", 1)


def _converted(low: _Lowering, name: str, kind: str, item_bytes: int) -> str:
    value = low.values[name]
    if value.item_bytes == item_bytes:
        return name
    converted = f"{name}:{kind}"
    if converted not in low.nodes:
        low.nodes[converted] = Node(kind, name, (name,), converted, text_bytes=TEXT_BYTES[kind])
        low.values[converted] = Value(value.shape, item_bytes)
    return converted


def _kpu(
    low: _Lowering, layer: Layer, source: str, conv: KpuConv, output: str | None = None, shape: Shape | None = None
) -> str:
    """Append a KPU convolution and return its value."""
    output = output or layer.output
    low.nodes[output] = Node("kpu", layer.name, (source,), output, conv=conv)
    low.values[output] = Value(shape or layer.shape, 1)
    return output


def _cpu(
    low: _Lowering,
    kind: str,
    layer: Layer,
    inputs: tuple[str, ...],
    output: str | None = None,
    shape: Shape | None = None,
    *,
    text: int | None = None,
    constants: tuple[int, ...] = (),
    item_bytes: int = 4,
) -> str:
    """Append a CPU operator and return its value."""
    output = output or layer.output
    text = TEXT_BYTES.get(kind, TEXT_BYTES["binary"]) if text is None else text
    low.nodes[output] = Node(kind, layer.name, inputs, output, constants=constants, text_bytes=text)
    low.values[output] = Value(shape or layer.shape, item_bytes)
    return output


def _only_reader(low: _Lowering, tensor: str) -> Layer | None:
    readers = low.readers.get(tensor, [])
    return readers[0] if len(readers) == 1 and tensor not in low.network.outputs else None
