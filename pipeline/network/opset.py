"""Other opsets → 13. Older ones by ONNX's converter; newer ones operator by operator, as that converter lacks most.

Only operators whose *form* changed need anything: ``_FORMS`` holds one function for each. The version numbers are
those of onnx/defs (1.19), "since version".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from pipeline.errors import NetworkError
from pipeline.network.composed import COMPOSED, decompose
from pipeline.network.native import convert

OPSET = 13
IR_VERSION = 8
"""The one that goes with opset 13 and that every reader downstream (onnx2tf, nncase, Netron) knows."""

_OLDEST = 6
"""Before it, broadcasting was an attribute; 9 to 18 are promised, the rest converts where ONNX's converter can."""


def at_least_opset_13(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return ``model`` in opset 13 or the newer one that it has (its IR version may be raised in place).

    Raises:
        NetworkError: the opset is too old, or an operator of it has no form in opset 13.
    """
    version = opset(model)
    remedy = "export the model again with opset 13 (9 to 18 are read)"
    if version > defs.onnx_opset_version():
        raise NetworkError(f"opset {version} is too new", where=where, remedy=remedy)
    if version < _OLDEST:
        raise NetworkError(f"opset {version} is too old", where=where, remedy=remedy)
    if version >= OPSET:
        return model
    model.ir_version = max(model.ir_version, IR_VERSION)  # the converter takes weights for inputs before version 4
    converted = convert(model, version, OPSET, where)
    converted.metadata_props.extend(model.metadata_props)
    return converted


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that ``model`` uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def down_to_opset_13(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return ``model``, its constants folded, in opset 13 (changed in place).

    Raises:
        NetworkError: names an operator that has no form in opset 13, with its layer.
    """
    version = opset(model)
    if version > OPSET:
        nodes: list[onnx.NodeProto] = []
        for node in model.graph.node:
            form = _FORMS.get(node.op_type)
            try:
                nodes += [node] if form is None else form(node, model.graph)
                if form is None:
                    _check_unchanged(node, version)
            except ValueError as error:
                raise NetworkError(
                    f"{node.op_type} of opset {version}: {error}",
                    where=f"{where}: {node.name or node.output[0]}",
                    remedy="export the model with opset 13",
                ) from error
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.ir_version = IR_VERSION
    return model


_SAME_FORM = frozenset(
    {
        *("Add", "Cast", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Div", "Dropout", "Elu", "Flatten"),
        *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "Identity", "LeakyRelu", "MaxPool", "Mul", "PRelu"),
        *("Pow", "Relu", "Softplus", "Softsign", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where", "AveragePool"),
    }
)
"""Newer than 13, but only more types (or, for AveragePool-19, a dilation, checked by the reader)."""


def _check_unchanged(node: onnx.NodeProto, version: int) -> None:
    since = defs.get_schema(node.op_type, version, "").since_version
    if since > OPSET and node.op_type not in _SAME_FORM:
        raise ValueError(f"its form of opset {since} has none in opset {OPSET}")


def _constant_input(node: onnx.NodeProto, index: int, graph: onnx.GraphProto) -> np.ndarray | None:  # type: ignore[type-arg]
    if index >= len(node.input) or not node.input[index]:
        return None
    for tensor in graph.initializer:
        if tensor.name == node.input[index]:
            array: np.ndarray = numpy_helper.to_array(tensor)  # type: ignore[type-arg]
            return array
    raise ValueError("its settings are computed by the network")


def _without(node: onnx.NodeProto, names: Iterable[str]) -> dict[str, onnx.AttributeProto]:
    """Take attributes off ``node``; return them."""
    dropped = {attribute.name: attribute for attribute in node.attribute if attribute.name in names}
    kept = [attribute for attribute in node.attribute if attribute.name not in dropped]
    del node.attribute[:]
    node.attribute.extend(kept)
    return dropped


def _reduce(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Opset 18 gives the axes as an input."""
    axes = _constant_input(node, 1, graph)
    empty = _without(node, ["noop_with_empty_axes"]).get("noop_with_empty_axes")
    if (axes is None or not axes.size) and empty is not None and empty.i:
        return [helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name)]
    if axes is not None and axes.size:
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
    del node.input[1:]
    return [node]


def _batchnorm(node: onnx.NodeProto, _: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Opset 14 says whether it is in training mode."""
    training = _without(node, ["training_mode"]).get("training_mode")
    if training is not None and training.i:
        raise ValueError("it is in training mode; export the model in evaluation mode")
    return [node]


def _reshape(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Opset 14 can take a 0 as a length."""
    zero = _without(node, ["allowzero"]).get("allowzero")
    if zero is not None and zero.i and (_constant_input(node, 1, graph) == 0).any():  # type: ignore[union-attr]
        raise ValueError("a length of 0")
    return [node]


def _split(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Opset 18 gives the number of parts, which need not be equal."""
    _without(node, ["num_outputs"])
    return [node]


def _pad(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Opset 18 can pad some axes only."""
    axes = _constant_input(node, 3, graph)
    if axes is not None:
        pads = _constant_input(node, 1, graph)
        image = next((v for v in (*graph.value_info, *graph.input) if v.name == node.input[0]), None)
        rank = len(image.type.tensor_type.shape.dim) if image is not None else 0
        if pads is None or not rank:
            raise ValueError("its axes, without a known shape")
        if len(pads) != 2 * len(axes):
            raise ValueError(f"{len(pads)} pads for {len(axes)} axes")
        full = np.zeros(2 * rank, np.int64)
        for index, axis in enumerate(axes):
            full[int(axis) % rank] = pads[index]
            full[int(axis) % rank + rank] = pads[index + len(axes)]
        name = f"{node.name or node.output[0]}.pads"
        graph.initializer.append(numpy_helper.from_array(full, name))
        node.input[1] = name
    del node.input[3:]
    return [node]


def _resize(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Opset 18 can resize some axes only, smooth, and keep the aspect ratio."""
    dropped = _without(node, ["antialias", "axes", "keep_aspect_ratio_policy"])
    if dropped.get("axes") is not None or (dropped.get("antialias") is not None and dropped["antialias"].i):
        raise ValueError("axes or antialias")
    policy = dropped.get("keep_aspect_ratio_policy")
    if policy is not None and policy.s not in (b"", b"stretch"):
        raise ValueError("keep_aspect_ratio_policy")
    return [node]


_FORMS: dict[str, Callable[[onnx.NodeProto, onnx.GraphProto], list[onnx.NodeProto]]] = {
    "BatchNormalization": _batchnorm,
    **dict.fromkeys(COMPOSED, decompose),
    "Pad": _pad,
    "ReduceL2": _reduce,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceMin": _reduce,
    "Reshape": _reshape,
    "Resize": _resize,
    "Split": _split,
}
