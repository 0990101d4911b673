"""Operators that move values and do not change them ⇄ their modules. The batch always stays axis 0."""

from __future__ import annotations

import math

from torch import nn

from pipeline.network.modules import Reshape, Slice, Split, Squeeze, Transpose, Unsqueeze
from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifter, Writer, Writing, Written, write_node

_INT64_MAX = 2**63 - 1


def lift_flatten(operation: Operation) -> nn.Module:
    """Return the ``nn.Flatten`` of everything but the batch."""
    if len(operation.shape()) < 2 or operation.axis(operation.attributes.get("axis", 1), batch=True) != 1:
        raise operation.refuse("it does not keep the images of a batch apart")
    return nn.Flatten()


def lift_reshape(operation: Operation) -> nn.Module:
    """Return ``nn.Flatten`` where N×K comes out, ``Reshape`` otherwise."""
    target = [int(size) for size in operation.required(1, "shape")]
    if not target:
        raise operation.refuse("it makes one number of a batch")
    given, images = operation.shape(), operation.shape()[0]
    keeps = target[0] in (0, images) or (target[0] == -1 and operation.output is not None and _first_stays(operation))
    if not keeps:
        raise operation.refuse("it does not keep the images of a batch apart")
    if not operation.attributes.get("allowzero", 0):
        target = [given[index] if size == 0 else size for index, size in enumerate(target)]  # type: ignore[misc]
    sizes = operation.sizes()
    rest = target[1:]
    if -1 in rest:
        known = math.prod(size for size in rest if size != -1)
        rest[rest.index(-1)] = math.prod(sizes) // max(known, 1)
    if math.prod(rest) != math.prod(sizes):
        raise operation.refuse("it does not keep the images of a batch apart")
    return nn.Flatten() if len(rest) == 1 and len(sizes) > 1 else Reshape(tuple(rest))


def _first_stays(operation: Operation) -> bool:
    """Whether a shape that starts with −1 leaves as many values an image as there were."""
    rest = [int(size) for size in operation.required(1, "shape")][1:]
    return -1 not in rest and 0 not in rest and math.prod(rest) == math.prod(operation.sizes())


def lift_transpose(operation: Operation) -> nn.Module:
    """Return the ``Transpose``."""
    rank = len(operation.shape())
    order = tuple(int(axis) for axis in operation.attributes.get("perm", range(rank - 1, -1, -1)))
    if order[0] != 0:
        raise operation.refuse("it moves the batch")
    return Transpose(order)


def lift_slice(operation: Operation) -> nn.Module:
    """Return the ``Slice``, its bounds counted from the front."""
    starts = [int(value) for value in operation.required(1, "starts")]
    ends = [int(value) for value in operation.required(2, "ends")]
    axes, steps = operation.optional(3, "axes"), operation.optional(4, "steps")
    dims = [operation.axis(axis, batch=True) for axis in (range(len(starts)) if axes is None else axes)]
    strides = [1] * len(starts) if steps is None else [int(step) for step in steps]
    ranges = []
    for dim, start, end, step in zip(dims, starts, ends, strides, strict=True):
        if step < 1:
            raise operation.refuse("it runs backwards")
        size = operation.shape()[dim]
        if dim == 0 and start == 0 and step == 1 and (end >= _INT64_MAX >> 32):
            continue
        if dim == 0 or size is None:
            raise operation.refuse("it takes some images of a batch" if dim == 0 else "its input has no fixed size")
        first, last, _ = slice(start, end, step).indices(size)
        ranges.append((dim, first, None if last == size else last, step))
    return Slice(tuple(ranges)) if ranges else nn.Identity()


def lift_split(operation: Operation) -> nn.Module:
    """Return the ``Split``; equal parts where no sizes are given."""
    axis = operation.axis(operation.attributes.get("axis", 0))
    sizes = operation.optional(1, "sizes")
    if sizes is None:
        whole = operation.sizes()[axis - 1]
        part = -(-whole // operation.outputs)
        parts = [min(part, whole - part * index) for index in range(operation.outputs)]
    else:
        parts = [int(size) for size in sizes]
    return Split(tuple(parts), axis)


def lift_squeeze(operation: Operation) -> nn.Module:
    """Return the ``Squeeze`` of the given axes, or of all of length 1."""
    axes = operation.optional(1, "axes")
    if axes is None:
        return Squeeze(tuple(dim for dim, size in enumerate(operation.sizes(), 1) if size == 1))
    return Squeeze(tuple(sorted(operation.axis(axis) for axis in axes)))


def lift_unsqueeze(operation: Operation) -> nn.Module:
    """Return the ``Unsqueeze``."""
    axes = operation.required(1, "axes")
    rank = len(operation.shape()) + len(axes)
    return Unsqueeze(tuple(sorted(operation.axis(axis, rank=rank) for axis in axes)))


def lift_pad(operation: Operation) -> nn.Module:
    """Return the padding layer: zeros, a constant, the mirrored or the repeated border."""
    pads = [int(pad) for pad in operation.required(1, "pads")]
    rank = len(pads) // 2
    if pads[0] or pads[rank]:
        raise operation.refuse("it pads the batch")
    sides = [side for axis in range(rank - 1, 0, -1) for side in (pads[axis], pads[axis + rank])]
    while len(sides) > 4 and sides[-2:] == [0, 0]:
        sides = sides[:-2]
    mode = operation.attributes.get("mode", "constant")
    if mode == "constant":
        value = operation.optional(2, "value")
        number = 0.0 if value is None or not value.size else float(value.reshape(-1)[0])
        if len(sides) > 4:
            return _pad_channels(sides, number)
        return nn.ZeroPad2d(_four(sides)) if number == 0.0 else nn.ConstantPad2d(_four(sides), number)
    if len(sides) > 4 or rank != 4:
        raise operation.refuse(f"mode {mode} beyond height and width")
    return nn.ReflectionPad2d(_four(sides)) if mode == "reflect" else nn.ReplicationPad2d(_four(sides))


def _pad_channels(sides: list[int], value: float) -> nn.ConstantPad3d:
    left, right, top, bottom, front, back = sides
    return nn.ConstantPad3d((left, right, top, bottom, front, back), value)


def _four(sides: list[int]) -> tuple[int, int, int, int]:
    left, right, top, bottom = [*sides, 0, 0][:4]
    return left, right, top, bottom


def _write_reshape(reshape: Reshape, layer: Layer) -> Written:
    writing = Writing(layer)
    return writing.last("Reshape", [layer.inputs[0], writing.integers("shape", (0, *reshape.shape))])


def _write_flatten(flatten: nn.Flatten, layer: Layer) -> Written:
    if (flatten.start_dim, flatten.end_dim) == (1, -1):
        return write_node(layer, "Flatten", axis=1)
    writing = Writing(layer)
    return writing.last("Reshape", [layer.inputs[0], writing.integers("shape", (0, *layer.output_shape[1:]))])


def _write_transpose(transpose: Transpose, layer: Layer) -> Written:
    return write_node(layer, "Transpose", perm=list(transpose.order))


def _write_slice(part: Slice, layer: Layer) -> Written:
    writing = Writing(layer)
    dims, starts, ends, steps = zip(*part.ranges, strict=True)
    bounds = {
        "starts": starts,
        "ends": tuple(_INT64_MAX if end is None else end for end in ends),
        "axes": dims,
        "steps": steps,
    }
    return writing.last("Slice", [layer.inputs[0], *(writing.integers(name, bounds[name]) for name in bounds)])


def _write_split(split: Split, layer: Layer) -> Written:
    writing = Writing(layer)
    return writing.last("Split", [layer.inputs[0], writing.integers("sizes", split.sizes)], axis=split.dim)


def _write_axes(op: str) -> Writer:
    def write(module: Squeeze | Unsqueeze, layer: Layer) -> Written:
        writing = Writing(layer)
        return writing.last(op, [layer.inputs[0], writing.integers("axes", module.dims)])

    return write


def _write_pad(mode: str) -> Writer:
    def write(pad: nn.ZeroPad2d, layer: Layer) -> Written:
        writing = Writing(layer)
        sides = tuple(int(side) for side in pad.padding)
        begin, end = list(sides[0::2])[::-1], list(sides[1::2])[::-1]
        unpadded = [0] * (len(layer.shape) - len(begin))
        inputs = [layer.inputs[0], writing.integers("pads", (*unpadded, *begin, *unpadded, *end))]
        if mode == "constant":
            inputs.append(writing.scalar("value", float(getattr(pad, "value", 0.0))))
        return writing.last("Pad", inputs, mode=mode)

    return write


LIFT: dict[str, Lifter] = {
    "Flatten": lift_flatten,
    "Reshape": lift_reshape,
    "Transpose": lift_transpose,
    "Slice": lift_slice,
    "Split": lift_split,
    "Squeeze": lift_squeeze,
    "Unsqueeze": lift_unsqueeze,
    "Pad": lift_pad,
}
WRITE: dict[type[nn.Module], Writer] = {
    nn.Flatten: _write_flatten,
    Reshape: _write_reshape,
    Transpose: _write_transpose,
    Slice: _write_slice,
    Split: _write_split,
    Squeeze: _write_axes("Squeeze"),
    Unsqueeze: _write_axes("Unsqueeze"),
    nn.ZeroPad2d: _write_pad("constant"),
    nn.ConstantPad2d: _write_pad("constant"),
    nn.ConstantPad3d: _write_pad("constant"),
    nn.ReflectionPad2d: _write_pad("reflect"),
    nn.ReplicationPad2d: _write_pad("edge"),
}
