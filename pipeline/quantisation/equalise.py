"""Equalisation across layers: the channels of a tensor are brought to like ranges, the network's function unchanged.

The KPU has one scale for all channels of an activation tensor, so a channel whose values are 40 times smaller than its
neighbours' keeps 1/40 of the 256 steps. Weights have one scale an *output* channel: dividing a writer's channel by s
costs nothing there, while multiplying the readers' input channel by s moves the imbalance into their weights. Between
the two the factor of channel c is chosen so that both are equally uneven, ``s = sqrt(a / w)``, with a the channel's
largest activation on calibration images and w the channel's largest weight in any reader, relative to the largest of
that output channel. (Nagel et al., Data-Free Quantization through Weight Equalization and Bias Correction, 2019, take
the writer's weights for a; Xiao et al., SmoothQuant, 2023, take activations, as here.) A depthwise reader has one
input channel an output channel, so that w = 1 and the pass, repeated, evens the activations out completely.

Only positive homogeneous operators carry a factor: see ``channel_groups``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.errors import NetworkError
from pipeline.quantisation.channel_groups import Array, Group, attribute, constants, find_groups

_PASSES = 20
_LIMIT = 2.0**16  # a factor beyond this says that the channel is dead, not that it is small
_BATCH = 64


@dataclass(frozen=True)
class GroupEffect:
    """What equalisation did to one group.

    Attributes:
        layers: the convolutions that write into it.
        spread_before: largest over smallest activation range of its live channels.
        spread_after: the same afterwards.
        largest_factor: the largest factor a channel was multiplied or divided by.
    """

    layers: tuple[str, ...]
    spread_before: float
    spread_after: float
    largest_factor: float


def equalise(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> tuple[onnx.ModelProto, list[GroupEffect]]:
    """Return ``model`` with equalised weights, and what was done.

    Args:
        model: BatchNorm folded.
        inputs: calibration images as the network takes them, float32 N×C×H×W.
    """
    equalised = onnx.ModelProto()
    equalised.CopyFrom(model)
    groups = find_groups(equalised)
    if not groups:
        return equalised, []
    ranges = channel_ranges(equalised, [name for group in groups for name in group.tensors], inputs)
    weights = {
        name: np.asarray(value, np.float64) for name, value in constants(equalised).items() if value.dtype == np.float32
    }
    activations = [np.max([_fold(ranges[name], group.channels) for name in group.tensors], axis=0) for group in groups]
    factors = [np.ones(group.channels) for group in groups]
    nodes = equalised.graph.node
    for _ in range(_PASSES):
        largest = 1.0
        for number, group in enumerate(groups):
            factor = _factor(group, activations[number] / factors[number], nodes, weights)
            _apply(group, factor, nodes, weights)
            factors[number] = factors[number] * factor
            largest = max(largest, float(factor.max()), float(1 / factor.min()))
        if largest < 1.01:
            break
    for tensor in equalised.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].astype(np.float32), tensor.name))
    effects = [
        GroupEffect(
            layers=tuple(nodes[index].name or nodes[index].output[0] for index in group.writers),
            spread_before=_spread(activation),
            spread_after=_spread(activation / total),
            largest_factor=float(max(total.max(), 1 / total.min())),
        )
        for group, activation, total in zip(groups, activations, factors, strict=True)
    ]
    return equalised, effects


def channel_ranges(model: onnx.ModelProto, names: list[str], inputs: NDArray[np.float32]) -> dict[str, Array]:
    """Return the largest absolute value of each channel (axis 1) of the tensors ``names`` over ``inputs``.

    Raises:
        NetworkError: an activation is not finite.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    outputs = {value.name for value in probed.graph.output}
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, Array] = {}
    for start in range(0, len(inputs), _BATCH):
        batch = session.run(names, {session.get_inputs()[0].name: inputs[start : start + _BATCH]})
        for name, values in zip(names, batch, strict=True):
            largest = np.abs(values).max(axis=(0, *range(2, values.ndim)))
            if not np.isfinite(largest).all():
                raise NetworkError(
                    "computes values that are not finite on the calibration images",
                    where=name,
                    remedy="check the network's weights and its input normalisation",
                )
            found[name] = np.maximum(found[name], largest) if name in found else largest
    return found


def _factor(
    group: Group, activation: NDArray[np.float64], nodes: list[onnx.NodeProto], weights: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """One factor a channel, 1 for channels that are dead or that nobody reads; their geometric mean is 1."""
    reading = np.max([_read_weight(nodes[index], group.channels, weights) for index in group.readers], axis=0)
    live = (activation > 0) & (reading > 0)
    factor: NDArray[np.float64] = np.ones(group.channels)
    if live.any():
        factor[live] = np.sqrt(activation[live] / reading[live])
        factor[live] /= np.exp(np.log(factor[live]).mean())
    return np.clip(factor, 1 / _LIMIT, _LIMIT)


def _read_weight(node: onnx.NodeProto, channels: int, weights: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The largest weight that reads each channel, relative to the largest of its output channel (0 to 1)."""
    rows = _by_input(np.abs(weights[node.input[1]]), node)
    peak = rows.max(axis=(1, 2), keepdims=True)
    relative = np.divide(rows, peak, out=np.zeros_like(rows), where=peak > 0)
    grouped = relative.reshape(*_split(node, relative.shape[0]), *relative.shape[1:]).max(axis=(1, 3))
    return _fold(grouped.reshape(-1), channels)


def _apply(
    group: Group, factor: NDArray[np.float64], nodes: list[onnx.NodeProto], weights: dict[str, NDArray[np.float64]]
) -> None:
    """Divide what the writers write by ``factor`` and multiply what the readers read by it."""
    for index in group.writers:
        node = nodes[index]
        kernel, *bias = node.input[1:]
        along = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
        shape = [1] * weights[kernel].ndim
        shape[along] = -1
        weights[kernel] = weights[kernel] / factor.reshape(shape)
        for name in bias:
            if name:
                weights[name] = weights[name] / factor
    for index in group.readers:
        node = nodes[index]
        kernel = node.input[1]
        rows = _by_input(weights[kernel], node)
        repeated = np.repeat(factor, _input_count(node, rows) // group.channels)
        blocks = rows.reshape(*_split(node, rows.shape[0]), *rows.shape[1:])
        scaled = blocks * repeated.reshape(blocks.shape[0], 1, blocks.shape[2], 1)
        weights[kernel] = _from_rows(scaled.reshape(rows.shape), node, weights[kernel].shape)


def _by_input(kernel: NDArray[np.float64], node: onnx.NodeProto) -> NDArray[np.float64]:
    """A kernel as output channels × input channels (of one convolution group) × positions."""
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        kernel = kernel.T
    return kernel.reshape(kernel.shape[0], kernel.shape[1], -1)


def _from_rows(rows: NDArray[np.float64], node: onnx.NodeProto, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The inverse of ``_by_input``."""
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        return rows[:, :, 0].T
    return rows.reshape(shape)


def _split(node: onnx.NodeProto, outputs: int) -> tuple[int, int]:
    """The convolution's groups, and the output channels of each."""
    count = attribute(node, "group", 1) if node.op_type == "Conv" else 1
    return count, outputs // count


def _input_count(node: onnx.NodeProto, rows: NDArray[np.float64]) -> int:
    return _split(node, rows.shape[0])[0] * int(rows.shape[1])


def _fold(values: NDArray[Any], channels: int) -> NDArray[np.float64]:
    """The largest of the values that belong to each channel (a flattened tensor has several a channel)."""
    largest: NDArray[np.float64] = np.asarray(values, np.float64).reshape(channels, -1).max(axis=1)
    return largest


def _spread(ranges: NDArray[np.float64]) -> float:
    live = ranges[ranges > 0]
    return float(live.max() / live.min()) if live.size else 1.0
