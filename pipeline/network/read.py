"""Reading an ONNX file that a stranger brings: checked whole, before anything else sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, numpy_helper

from pipeline.errors import NetworkError
from pipeline.network.normal import normal_form

_EXPORT = "export the model again (torch.onnx.export, tf2onnx, …) and copy the file whole"
_MAY_BE_INFINITE = ("Clip", "Max", "Min", "Pad")
"""Operators whose constants are bounds or borders, where an infinite one is meant."""

_LARGEST_LENGTH = 1 << 20


def load_onnx(path: Path) -> onnx.ModelProto:
    """Return the network in ``path`` in normal form (see ``normal``): opset 13, one N×C×H×W input, N open.

    Raises:
        NetworkError: the file is missing, empty, torn or no ONNX; data outside its folder; NaN or infinite weights;
            more than one input, or one without a fixed size; an operator of another vendor. Names file and layer.
    """
    try:
        return _load(path)
    except UnicodeDecodeError as error:
        raise NetworkError("holds a name that is no text: damaged", where=str(path), remedy=_EXPORT) from error


def _load(path: Path) -> onnx.ModelProto:
    model = _parse(path)
    _load_external_data(model, path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.SetInParent()  # ONNX's checker wants one; normal_form judges and infers them
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise NetworkError(f"is not valid ONNX ({_first_line(error)})", where=str(path), remedy=_EXPORT) from error
    _check_windows(model, path)
    _check_weights(model, path)
    return normal_form(model, where=str(path))


def _parse(path: Path) -> onnx.ModelProto:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NetworkError(
            f"cannot be read ({error.strerror})",
            where=str(path),
            remedy="check the path; it is relative to the project",
        ) from error
    if not content:
        raise NetworkError("is empty", where=str(path), remedy=_EXPORT)
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise NetworkError("is truncated, or not an ONNX file", where=str(path), remedy=_EXPORT) from error
    if not model.graph.node or not model.opset_import:
        raise NetworkError("holds no network: truncated, or not an ONNX file", where=str(path), remedy=_EXPORT)
    return model


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Load weights kept in other files, which must lie in the model's folder."""
    folder = path.resolve().parent
    found = False
    for tensor in _tensors(model.graph, model.functions):
        if not external_data_helper.uses_external_data(tensor):
            continue
        found = True
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder):
            raise NetworkError(
                f"weight {tensor.name!r} lies outside the model's folder ({location!r})",
                where=str(path),
                remedy="save the model as one file: onnx.save(model, path, save_as_external_data=False)",
            )
        if not file.is_file():
            raise NetworkError(
                f"weight {tensor.name!r} lies in {location!r}, which is missing",
                where=str(path),
                remedy="copy that file beside the model, or save the model as one file",
            )
    if found:
        try:
            onnx.load_external_data_for_model(model, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise NetworkError(
                f"its weights in other files cannot be read ({_first_line(error)})", where=str(path), remedy=_EXPORT
            ) from error


def _tensors(graph: onnx.GraphProto, functions: Sequence[onnx.FunctionProto] = ()) -> Iterator[onnx.TensorProto]:
    """Yield every tensor: weights, and constants in attributes, also of graphs and functions inside."""
    yield from graph.initializer
    for body in (graph, *functions):
        for node in body.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                    yield from _tensors(inner)


def _check_windows(model: onnx.ModelProto, path: Path) -> None:
    """Refuse windows and groups of size 0: ONNX's shape inference divides by them, which kills the process."""
    for node in model.graph.node:
        for attribute in node.attribute:
            attribute.s.decode()  # text by the standard; a damaged file's is not (see load_onnx)
            if attribute.name in ("strides", "dilations", "kernel_shape"):
                values = list(attribute.ints)
            elif attribute.name in ("group", "num_outputs", "blocksize", "size"):
                values = [attribute.i]
            else:
                continue
            if any(not 1 <= value < _LARGEST_LENGTH for value in values):
                raise NetworkError(
                    f"{attribute.name} of {values} makes no {node.op_type}",
                    where=f"{path}: {node.name or node.output[0]}",
                    remedy=_EXPORT,
                )


def _check_weights(model: onnx.ModelProto, path: Path) -> None:
    """Refuse weights that are torn, NaN or infinite, naming them and the layers that read them."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = [(tensor.name, tensor) for tensor in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants += [(node.output[0], attribute.t) for attribute in node.attribute if attribute.HasField("t")]
    for name, tensor in constants:
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise NetworkError(
                f"weight {name!r} holds other than the {list(tensor.dims)} values it should",
                where=str(path),
                remedy=_EXPORT,
            ) from error
        if not np.issubdtype(values.dtype, np.floating):
            continue
        used = readers.get(name, [])
        bound = all(node.op_type in _MAY_BE_INFINITE for node in used)
        bad = np.isnan(values) if bound else ~np.isfinite(values)
        if bad.any():
            kind = "NaN" if np.isnan(values).any() else "infinite"
            layers = ", ".join(node.name or f"{node.op_type} of {node.output[0]}" for node in used) or "no layer"
            raise NetworkError(
                f"weight {name!r} holds {int(bad.sum())} {kind} of {values.size} numbers",
                where=f"{path}: {layers}",
                remedy="the training diverged: train again with a lower learning rate, or take an earlier checkpoint",
            )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
